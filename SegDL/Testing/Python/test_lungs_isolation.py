"""The whole isolation on the phantom, on its flipped, permuted and oblique copies, and without lungs."""

import json

import numpy as np
import pytest
from lung_phantom import COUCH_ROWS, SPINE_COLUMNS, lung_phantom
from SegDLEngine.errors import ModelError
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.images.resampling import canonical_grid, resample
from SegDLEngine.preprocessing.lungs.isolation import isolate_lungs
from SegDLEngine.preprocessing.lungs.orientation import PatientOrder
from SegDLEngine.preprocessing.registry import PreparedCase, check_steps, run_steps
from SegDLEngine.protocol import Reporter

# The published isolation, run on this phantom: Dice of the lungs before mirroring and of the final region.
ORIGINAL = {"before": 0.990, "after": 0.827, "collapsed before": 0.682, "collapsed after": 0.862}


def dice(first, second):
    return 2 * np.count_nonzero(first & second) / (np.count_nonzero(first) + np.count_nonzero(second))


def coverage(mask, reference):
    return np.count_nonzero(mask & reference) / np.count_nonzero(reference)


@pytest.fixture(scope="module")
def phantom():
    return lung_phantom()


@pytest.fixture(scope="module")
def isolation(phantom):
    return isolate_lungs(phantom.ct)


@pytest.fixture(scope="module")
def collapsed():
    return lung_phantom(collapsed=True)


def test_the_phantom_has_the_voxels_of_the_published_figures(phantom, collapsed):
    assert phantom.lungs.sum() == 320064
    assert (phantom.ct.array < -320).sum() == 2527968
    assert (collapsed.ct.array < -320).sum() == 2404696


def test_the_lungs_before_mirroring(phantom, isolation):
    lungs = isolation.lungs.array > 0
    assert dice(lungs, phantom.lungs) >= max(0.98, ORIGINAL["before"])
    assert not (lungs & phantom.trachea).any()
    assert len(isolation.report["lung_components_ml"]) == 2


def test_the_region_has_no_couch_and_no_trachea_and_every_slice(phantom, isolation):
    region = isolation.mask.array > 0
    assert not region[:, COUCH_ROWS].any()
    assert not (region & phantom.trachea).any()
    assert region.any(axis=(1, 2)).all()
    assert coverage(region, phantom.lungs) == 1
    assert dice(region, phantom.lungs) >= ORIGINAL["after"]
    assert not ((isolation.lungs.array > 0) & ~region).any()


def test_the_couch_is_found_with_its_foam_and_nothing_else(isolation):
    couch = isolation.couch.array > 0
    expected = np.zeros(couch.shape, bool)
    expected[:, 430:, 90:422] = True
    assert np.array_equal(couch, expected)
    assert isolation.report["couch_found"]


def test_the_spine_is_exact_and_smoothed_from_its_own_past(isolation):
    axis = isolation.spine_axis
    assert axis.first == 0
    assert axis.measured.tolist() == SPINE_COLUMNS.tolist()
    state = 258.0
    for measured, smoothed in zip(SPINE_COLUMNS, axis.smoothed, strict=True):
        state = 0.3 * measured + 0.7 * state
        assert smoothed == pytest.approx(state)


def test_a_collapsed_lung_is_covered_by_the_mirrored_one(collapsed):
    isolation = isolate_lungs(collapsed.ct)
    lungs, region = isolation.lungs.array > 0, isolation.mask.array > 0
    assert coverage(region, collapsed.lungs) >= 0.99
    assert dice(lungs, collapsed.lungs) > ORIGINAL["collapsed before"]
    assert dice(region, collapsed.lungs) >= ORIGINAL["collapsed after"]
    assert not (region & collapsed.trachea).any()
    assert not region[:, COUCH_ROWS].any()


def test_without_remnants_one_lung_is_left_of_a_collapsed_pair_as_published(collapsed):
    isolation = isolate_lungs(collapsed.ct, remnant_ratio=None)
    assert len(isolation.report["lung_components_ml"]) == 1
    assert dice(isolation.lungs.array > 0, collapsed.lungs) == pytest.approx(
        ORIGINAL["collapsed before"], abs=0.01
    )


def test_lungs_of_exactly_one_size_are_both_kept():
    phantom = lung_phantom(equal=True)
    isolation = isolate_lungs(phantom.ct, remnant_ratio=None)
    first, second = isolation.report["lung_components_ml"]
    assert first == second
    assert dice(isolation.lungs.array > 0, phantom.lungs) >= 0.98


def test_lungs_joined_in_front_are_one_component_and_both_stay(phantom):
    array = phantom.ct.array.copy()
    array[5:9, 225:230, 200:320] = -850
    isolation = isolate_lungs(phantom.ct.with_array(array))
    assert len(isolation.report["lung_components_ml"]) == 1
    assert dice(isolation.lungs.array > 0, phantom.lungs) >= 0.97


def test_the_report_is_plain_data_and_places_the_spine_in_the_patient(phantom, isolation):
    report = json.loads(json.dumps(isolation.report))
    assert report["warnings"] == []
    assert report["lungs_ml"] == pytest.approx(320.06, abs=1)
    assert report["seconds"]["total"] > 0
    points = np.array(report["spine_axis"]["points_lps_mm"])
    assert points.shape == (12, 3)
    assert points[:, 0].tolist() == pytest.approx(isolation.spine_axis.smoothed.tolist(), abs=0.01)
    assert np.all(np.abs(points[:, 1] - 330) < 10)


AXES = {
    "flipped left": np.diag([-1.0, 1.0, 1.0]),
    "RAS": np.diag([-1.0, -1.0, 1.0]),
    "from head to feet": np.diag([1.0, 1.0, -1.0]),
    "coronal": np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]]),
    "sagittal": np.array([[0, 0, 1.0], [1.0, 0, 0], [0, -1.0, 0]]),
}


def stored_as(image, axes):
    """The same voxels in the same places, stored along ``axes`` (columns, signed unit vectors)."""
    order = PatientOrder.of(Grid((2, 3, 4), direction=tuple(axes.ravel())))
    array = order.from_patient(image.array)
    size, spacing = array.shape[::-1], np.asarray(image.grid.spacing)
    own_spacing = np.abs(axes.T) @ spacing
    probe = Grid(size, tuple(own_spacing), direction=tuple(axes.ravel()))
    low = probe.corners().min(axis=0)
    origin = image.grid.corners().min(axis=0) - low
    return Image(array, Grid(size, tuple(own_spacing), tuple(origin), tuple(axes.ravel())), "CT", "HU")


@pytest.mark.parametrize("name", AXES)
def test_any_order_of_axes_gives_the_same_region(name, phantom, isolation):
    copy = stored_as(phantom.ct, AXES[name])
    assert copy.grid.corners().min(axis=0).tolist() == phantom.ct.grid.corners().min(axis=0).tolist()
    again = isolate_lungs(copy)
    order = PatientOrder.of(copy.grid)
    assert np.array_equal(order.to_patient(again.mask.array), isolation.mask.array)
    assert again.report["spine_axis"] == isolation.report["spine_axis"]


def test_patient_order_and_back_is_the_identity():
    array = np.arange(24).reshape(4, 3, 2)
    for axes in AXES.values():
        order = PatientOrder.of(Grid((2, 3, 4), (1.0, 2.0, 3.0), direction=tuple(axes.ravel())))
        assert np.array_equal(order.from_patient(order.to_patient(array)), array)
        assert sorted(order.spacing(Grid((2, 3, 4), (1.0, 2.0, 3.0)))) == [1.0, 2.0, 3.0]


def test_an_oblique_copy_gives_the_same_region_in_the_patient(phantom, isolation):
    angle = np.radians(9)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
    centre = phantom.ct.grid.to_physical([[255.5, 255.5, 5.5]])[0]
    origin = centre - turn @ (np.array([290, 290, 5.5]))
    oblique = Grid((581, 581, 12), (1.0, 1.0, 1.0), tuple(origin), tuple(turn.ravel()))
    again = isolate_lungs(resample(phantom.ct, oblique, outside=-1000))
    back = resample(again.mask, phantom.ct.grid, interpolation="nearest", outside=0).array > 0
    assert dice(back, isolation.mask.array > 0) >= 0.96
    assert coverage(back, phantom.lungs) >= 0.995


@pytest.mark.parametrize("spacing", [(0.57, 0.57, 5.0), (1.5, 1.5, 1.5)])
def test_millimetres_decide_and_not_pixels(phantom, isolation, spacing):
    grid = canonical_grid(phantom.ct.grid, spacing)
    finer = isolate_lungs(resample(phantom.ct, grid, outside=-1000))
    expected = resample(isolation.mask, grid, interpolation="nearest", outside=0).array > 0
    assert dice(finer.mask.array > 0, expected) >= 0.97
    assert not (finer.mask.array[:, round(430 / spacing[1]) :] > 0).any()


def test_a_single_slice_has_lungs_too(phantom):
    one = Image(phantom.ct.array[7:8], Grid((512, 512, 1), (1.0, 1.0, 5.0)), "CT", "HU")
    isolation = isolate_lungs(one)
    assert dice(isolation.lungs.array[0] > 0, phantom.lungs[7]) >= 0.98
    assert isolation.spine_axis.measured.tolist() == [263.0]


def test_floats_and_nan_are_read_as_hounsfield_units(phantom, isolation):
    array = phantom.ct.array.astype(np.float32) + 0.2
    array[0, 0, 0] = np.nan
    again = isolate_lungs(phantom.ct.with_array(array))
    assert np.array_equal(again.mask.array, isolation.mask.array)


@pytest.mark.parametrize("value", [40, -1000])
def test_an_image_without_lung_air_is_empty_and_says_so(phantom, value):
    array = phantom.ct.array.copy()
    array[phantom.lungs] = 40
    array[phantom.trachea] = 40
    image = phantom.ct.with_array(array if value == 40 else np.full_like(array, value))
    isolation = isolate_lungs(image)
    assert not isolation.mask.array.any()
    assert not isolation.lungs.array.any()
    assert isolation.spine_axis is None
    assert [item["code"] for item in isolation.report["warnings"]] == ["no_lungs"]
    assert isolation.body.array.any() == (value == 40)


def test_lungs_without_a_spine_are_not_mirrored_and_say_so(phantom):
    array = np.minimum(phantom.ct.array, 60)
    isolation = isolate_lungs(phantom.ct.with_array(array))
    assert [item["code"] for item in isolation.report["warnings"]] == ["no_spine"]
    assert coverage(isolation.mask.array > 0, phantom.lungs) == 1


def test_an_unknown_constant_is_named(phantom):
    with pytest.raises(ModelError, match="dilatation_mm"):
        isolate_lungs(phantom.ct, dilatation_mm=5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dilation_mm", -1),
        ("dilation_mm", float("nan")),
        ("air_hu", "-320"),
        ("mirror", 1),
        ("spine_terms", 0),
        ("spine_alpha", 0),
        ("minimum_ratio", None),
    ],
)
def test_an_impossible_constant_is_named(phantom, name, value):
    with pytest.raises(ModelError, match=f"'{name}'"):
        isolate_lungs(phantom.ct, **{name: value})


# the preprocessing step


def prepared(phantom, labels=None):
    return PreparedCase({"CT": phantom.ct}, "CT", labels=labels)


def test_the_step_sets_air_outside_and_changes_nothing_inside(phantom, isolation):
    case = run_steps(prepared(phantom), [{"step": "isolate_lungs"}])
    inside = isolation.mask.array > 0
    array = case.images["CT"].array
    assert array.dtype == np.int16
    assert np.array_equal(array[inside], phantom.ct.array[inside])
    assert (array[~inside] == -1000).all()
    assert np.array_equal(case.masks["lungs"].array, isolation.mask.array)
    assert np.array_equal(case.masks["lungs_before_flip"].array, isolation.lungs.array)
    assert case.grid == phantom.ct.grid


def test_a_training_label_outside_the_region_is_kept_with_three_voxels_around(phantom):
    labels = np.zeros(phantom.ct.array.shape, np.uint8)
    labels[6, 470, 470] = 2
    image = Image(labels, phantom.ct.grid)
    plain = run_steps(prepared(phantom, image), [{"step": "isolate_lungs"}]).masks["lungs"].array
    kept = run_steps(prepared(phantom, image), [{"step": "isolate_lungs", "keep_labels": True}])
    added = (kept.masks["lungs"].array > 0) & (plain == 0)
    assert added.sum() == 63
    assert added[6, 470, 470]


def test_without_lungs_the_step_keeps_the_body_and_warns(phantom):
    array = phantom.ct.array.copy()
    array[phantom.lungs | phantom.trachea] = 40
    reporter = Reporter()
    case = PreparedCase({"CT": phantom.ct.with_array(array)}, "CT", reporter=reporter)
    case = run_steps(case, [{"step": "isolate_lungs"}])
    assert [item["code"] for item in reporter.warnings] == ["no_lungs"]
    assert (case.images["CT"].array[5, 256, 256]) == 40
    assert (case.images["CT"].array[:, COUCH_ROWS] == -1000).all()


def test_a_card_with_a_wrong_constant_is_refused_before_any_work():
    check_steps([{"step": "isolate_lungs", "dilation_mm": 4.0, "keep_labels": True}])
    with pytest.raises(ModelError, match="dilatation_mm"):
        check_steps([{"step": "isolate_lungs", "dilatation_mm": 4.0}])
