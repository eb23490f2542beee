"""The COVID-19 cards of report 003 with small networks: preparation, lung masks, the way through."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from lung_models import COVID, LUNGS, covid_package, small_card, write_lungs_by_threshold
from SegDLEngine.errors import ModelError
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.images.resampling import resample
from SegDLEngine.options import SegmentOptions
from SegDLEngine.pipeline import segment
from SegDLEngine.preprocessing.lungs.methods import METHODS, find_lungs
from SegDLEngine.preprocessing.lungs.planes import dilate_cross
from SegDLEngine.preprocessing.registry import PreparedCase, run_steps
from SegDLTrainingLib.synthesis.thorax import make_phantom

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = {"device": "cpu", "precision": "fp32"}
GENESIS = COVID[2]


@pytest.fixture(scope="module")
def ct():
    """Two axial slices of a generated thorax with a tumour; pixels of 2.5 mm."""
    whole = make_phantom(5, (2.5, 2.5, 60.0), tumours=(40.0,)).ct
    grid = whole.grid.crop((0, 0, 3), (*whole.grid.size[:2], 2))
    return Image(whole.array[3:5].copy(), grid, "CT", "HU")


@pytest.fixture(scope="module")
def plane(ct):
    """One of the slices."""
    return Image(ct.array[1:], ct.grid.crop((0, 0, 1), (*ct.grid.size[:2], 1)), "CT", "HU")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A models folder with lung weights."""
    folder = tmp_path_factory.mktemp("models")
    write_lungs_by_threshold(folder / LUNGS)
    return folder


def prepared(image, name=GENESIS, until=None, extra=None):
    """The case after the card's steps, up to and without ``until``; ``extra`` goes before the z-score."""
    steps = copy.deepcopy(small_card(name)["preprocessing"])
    names = [entry["step"] for entry in steps]
    if until:
        steps = steps[: names.index(until)]
    if extra:
        steps.insert(names.index("zscore"), extra)
    return run_steps(PreparedCase({"CT": image}, "CT"), steps)


# preparation


def test_slices_get_pixels_of_a_millimetre_and_keep_their_distance(ct):
    case = prepared(ct, until="crop_to_mask")
    assert case.grid.spacing == (1.0, 1.0, ct.grid.spacing[2])
    assert case.grid.size[2] == ct.grid.size[2]
    before, after = ct.grid.corners(), case.grid.corners()
    assert np.abs(np.ptp(before, axis=0) - np.ptp(after, axis=0)).max() <= 1.0
    assert np.abs(before.min(axis=0) - after.min(axis=0)).max() <= 1.0
    assert case.masks["lungs"].grid == case.grid


def test_grey_values_are_z_scores_of_the_lungs_and_nothing_outside_counts(ct):
    case = prepared(ct, until="crop_to_mask")
    values, inside = case.images["CT"].array, case.masks["lungs"].array > 0
    assert inside.any()
    assert abs(values[inside].mean(dtype=float)) < 1e-5
    assert abs(values[inside].std(dtype=float) - 1) < 1e-5
    assert (values[~inside] == 0).all()
    outside = find_lungs(ct, "classical").mask.array == 0
    brighter = np.where(outside & (np.abs(ct.array) < 100), ct.array - 30, ct.array).astype(np.int16)
    assert (brighter != ct.array).sum() > 1000
    other = prepared(ct.with_array(brighter), until="crop_to_mask")
    assert np.array_equal(other.masks["lungs"].array, case.masks["lungs"].array)
    assert np.array_equal(other.images["CT"].array, values)


def test_padding_of_the_scanner_counts_as_air(ct):
    padded = ct.array.copy()
    padded[:, :6] = padded[:, -6:] = -2048
    case = prepared(ct.with_array(padded), until="lung_mask")
    assert case.images["CT"].array.min() == -1024


def test_equalisation_is_a_step_that_a_card_may_add(ct):
    plain = prepared(ct, until="crop_to_mask")
    equalise = {"step": "histogram_equalise", "mask": "lungs"}
    case = prepared(ct, until="crop_to_mask", extra=equalise)
    inside = case.masks["lungs"].array > 0
    values = case.images["CT"].array[inside]
    assert abs(values.mean(dtype=float)) < 1e-5 and abs(values.std(dtype=float) - 1) < 1e-5
    shares = np.histogram(values, bins=10)[0] / values.size
    assert shares == pytest.approx([0.1] * 10, abs=0.02)
    before = plain.images["CT"].array[plain.masks["lungs"].array > 0]
    order = np.argsort(before, kind="stable")
    assert (np.diff(values[order]) >= -1e-6).all()


def test_a_display_window_is_taken_back_to_hu_with_a_warning(ct, tmp_path):
    shown = np.rint((np.clip(ct.array, -1250, 250) + 1250) / 1500 * 255).astype(np.uint8)
    windowed = ct.with_array(shown)
    case, original = (prepared(image, until="crop_to_mask") for image in (windowed, ct))
    assert [item["code"] for item in case.reporter.warnings] == ["display-window"]
    assert case.grid.matches(original.grid)
    both = (case.masks["lungs"].array > 0) & (original.masks["lungs"].array > 0)
    assert both.sum() > 0.99 * (original.masks["lungs"].array > 0).sum()
    pair = case.images["CT"].array[both], original.images["CT"].array[both]
    assert np.corrcoef(*pair)[0, 1] > 0.999
    result = segment({"CT": windowed}, covid_package(tmp_path, GENESIS), SegmentOptions(samples=0, **CPU))
    assert [item["code"] for item in result.warnings] == ["display-window"]


# the way through


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", COVID)
def test_each_network_labels_only_lungs_found_in_each_way(name, method, plane, models, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGDL_MODELS", str(models))
    package = covid_package(tmp_path, name, method)
    result = segment({"CT": plane}, package, SegmentOptions(samples=0, **CPU))
    assert result.labels.grid == plane.grid
    labels = result.labels.array
    assert set(np.unique(labels)) == {0, 1}
    lungs = find_lungs(plane, method, device="cpu").mask.array > 0
    assert not (labels[~dilate_cross(lungs, 1)]).any()
    assert result.provenance["steps"]["preprocessing"][3]["method"] == method


@pytest.mark.parametrize("name", COVID)
def test_each_network_gives_uncertainty_of_its_own_kind_and_codes(name, plane, tmp_path):
    package = covid_package(tmp_path, name)
    options = SegmentOptions(samples=2, seed=3, **CPU)
    result = segment({"CT": plane}, package, options)
    plain = segment({"CT": plane}, package, SegmentOptions(samples=0, **CPU))
    assert np.array_equal(result.labels.array, plain.labels.array)
    assert result.maps["std"].array.max() > 1e-3
    assert set(plain.maps) == {"mean"}
    kind = "monte_carlo_dropout" if name == COVID[0] else "flip_tta"
    assert result.provenance["steps"]["inference"]["uncertainty"] == kind
    codes = result.card["labels"][0]["terminology"]
    assert codes["type"]["code"] == "882784691000119100"
    assert codes["region"]["code"] == "39607008"


def test_a_sagittal_copy_is_examined_in_axial_slices(ct, tmp_path):
    package = covid_package(tmp_path, GENESIS)
    plain = segment({"CT": ct}, package, SegmentOptions(samples=0, **CPU))
    axes = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    grid = Grid(
        (ct.grid.size[1], ct.grid.size[2], ct.grid.size[0]),
        (ct.grid.spacing[1], ct.grid.spacing[2], ct.grid.spacing[0]),
        ct.grid.origin,
        tuple(axes.ravel()),
    )
    sagittal = Image(ct.array.transpose(2, 0, 1).copy(), grid, "CT", "HU")
    assert np.array_equal(resample(sagittal, ct.grid, interpolation="nearest").array, ct.array)
    copy_ = segment({"CT": sagittal}, package, SegmentOptions(samples=0, **CPU))
    assert copy_.labels.grid == grid
    assert np.array_equal(copy_.labels.array.transpose(1, 2, 0), plain.labels.array)


def test_a_card_that_needs_the_lung_model_says_so(ct, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGDL_MODELS", str(tmp_path / "empty"))
    package = covid_package(tmp_path, GENESIS, "unet")
    with pytest.raises(ModelError, match=LUNGS) as caught:
        segment({"CT": ct}, package, SegmentOptions(samples=0, **CPU))
    assert "segdl models" in caught.value.hint and "watershed" in caught.value.hint


def test_a_scan_without_lungs_has_no_infection(ct, tmp_path):
    soft = ct.with_array(np.where(ct.array < -150, 30, ct.array).astype(np.int16))
    soft.array[0, 0, 0] = -1000
    result = segment({"CT": soft}, covid_package(tmp_path, GENESIS), SegmentOptions(samples=0, **CPU))
    assert not result.labels.array.any()
    assert "no_lungs" in {item["code"] for item in result.warnings}
