"""Preprocessing of reports 000, 002, 003 and 004: hand examples, and the way back to the reference grid."""

from __future__ import annotations

import numpy as np
import pytest
from realdata import real_file
from scipy import ndimage
from SegDLEngine.errors import InputError, ModelError
from SegDLEngine.images.checks import check_image
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.images.reading import read_image, read_labels
from SegDLEngine.images.resampling import resample
from SegDLEngine.inference.restoring import restore_labels
from SegDLEngine.options import SegmentOptions
from SegDLEngine.pipeline import segment
from SegDLEngine.preprocessing.registry import PreparedCase, known_steps, run_steps
from SegDLEngine.protocol import Reporter
from threshold_model import write_threshold_package

TURNED = (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def image(array, modality="CT", unit="HU", grid=None) -> Image:
    array = np.asarray(array)
    return Image(array, grid or Grid(array.shape[::-1]), modality, unit)


def line(*values, dtype=np.float32) -> PreparedCase:
    return PreparedCase({"CT": image(np.array(values, dtype).reshape(1, 1, -1))}, "CT")


def apply(case: PreparedCase, *steps) -> PreparedCase:
    return run_steps(case, [{"step": name, **constants} for name, constants in steps])


def values(case: PreparedCase, name="CT") -> list:
    return case.images[name].array.ravel().tolist()


def codes(case: PreparedCase) -> list[str]:
    return [event["code"] for event in case.reporter.warnings]


def ball(grid: Grid, centre, radius: float) -> Image:
    """uint8: voxels whose centre lies within ``radius`` mm of ``centre`` (LPS)."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.size), indexing="ij"), axis=-1)
    distance = np.linalg.norm(grid.to_physical(index.reshape(-1, 3)) - centre, axis=1)
    return Image((distance <= radius).reshape(grid.size).transpose(2, 1, 0).astype(np.uint8), grid)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    both = np.count_nonzero((one != 0) & (other != 0))
    return 2 * both / (np.count_nonzero(one) + np.count_nonzero(other))


def restored(labels: Image, target: Grid) -> np.ndarray:
    """Labels on the prepared grid taken for probabilities and brought back, as the pipeline does."""
    probability = labels.array[None].astype(np.float32)
    return restore_labels(probability, labels.grid, target, [1], 0.5, "sigmoid", Reporter()).array


# Report 000


def pet_ct(region=None) -> PreparedCase:
    """CT and PET on different grids, each with the physical x coordinate as value."""
    ct_grid = Grid((40, 40, 20), (1.5, 1.5, 3.0), (-30.0, -30.0, -30.0))
    pet_grid = Grid((16, 16, 16), (4.0, 4.0, 4.0), (-30.0, -30.0, -30.0))
    images = {}
    for name, grid, unit in (("CT", ct_grid, "HU"), ("PET", pet_grid, "SUV")):
        x = grid.origin[0] + grid.spacing[0] * np.arange(grid.size[0])
        array = np.broadcast_to(x, grid.shape).astype(np.float32).copy()
        images[name] = Image(array, grid, name, unit)
    return PreparedCase(images, "CT", labels=ball(ct_grid, (4, -6, 2), 9), region=region)


def test_box_is_where_the_region_is():
    # RAS: x of LPS from -12 to 8, y from -14 to 10, z from -6 to 9.
    case = apply(pet_ct((-8, 12, -10, 14, -6, 9)), ("resample_to_box", {"size": [16, 32, 15]}))
    grid = case.grid
    assert grid.size == (20, 32, 15) and grid.spacing == (1, 1, 1)
    assert grid.corners().min(axis=0) == pytest.approx([-12, -18, -6])
    assert grid.corners().max(axis=0) == pytest.approx([8, 14, 9])
    x = grid.origin[0] + np.arange(20)
    for name in ("CT", "PET"):
        assert case.images[name].grid == grid
        assert case.images[name].array == pytest.approx(np.broadcast_to(x, grid.shape), abs=1e-4)
    assert dice(case.labels.array, ball(grid, (4, -6, 2), 9).array) > 0.9


def test_box_of_the_report_has_144_voxels_and_pads():
    case = pet_ct((-8, 12, -10, 14, -6, 9))
    case = apply(case, ("resample_to_box", {"outside": {"CT": -1024, "PET": 0}}))
    assert case.grid.size == (144, 144, 144)
    assert case.grid.corners().mean(axis=0) == pytest.approx([-2, -2, 1.5])
    assert case.images["CT"].array[0, 0, 0] == -1024 and case.images["PET"].array[0, 0, 0] == 0


def test_box_without_a_region_is_the_whole_volume():
    case = pet_ct()
    whole = apply(case, ("resample_to_box", {"spacing": [2, 2, 2]}))
    assert whole.grid.spacing == (2, 2, 2)
    before, after = case.grid.corners(), whole.grid.corners()
    margins = np.stack([before.min(axis=0) - after.min(axis=0), after.max(axis=0) - before.max(axis=0)])
    assert margins.min() >= -0.01 and margins.max() < 2
    assert whole.images["PET"].grid == whole.grid


def test_box_outside_of_the_image_is_refused():
    with pytest.raises(InputError, match="outside of the input 'CT'"):
        apply(pet_ct((500, 600, 0, 10, 0, 10)), ("resample_to_box", {}))


def test_sphere_through_the_box_and_back():
    grid = Grid((60, 60, 24), (0.98, 0.98, 3.27), (-29.0, -29.0, -40.0))
    truth = ball(grid, (1, 2, -3), 20)
    case = PreparedCase({"CT": truth}, "CT", labels=truth, region=(-30, 30, -30, 30, -35, 35))
    prepared = apply(case, ("resample_to_box", {}))
    back = resample(prepared.labels, grid, interpolation="nearest")
    assert prepared.grid.size == (144, 144, 144)
    assert dice(back.array, truth.array) >= 0.97
    assert dice(restored(prepared.labels, grid), truth.array) >= 0.97


def test_ct_of_the_report_by_hand():
    ct = apply(
        line(-5000, 0, 512, 1024, 3000, dtype=np.int16),
        ("clip", {"low": -1024, "high": 1024}),
        ("scale", {"factor": 1 / 1024}),
    )
    assert values(ct) == [-1, 0, 0.5, 1, 1]


def test_pet_of_the_report_by_hand():
    pet = apply(line(1, 2, 3, 2), ("zscore", {"epsilon": 1e-3}))
    deviation = np.sqrt(0.5)
    assert values(pet) == pytest.approx((np.array([-1, 0, 1, 0]) / (deviation + 1e-3)).tolist())
    assert np.std(values(pet)) == pytest.approx(deviation / (deviation + 1e-3))
    assert values(apply(line(7, 7, 7), ("zscore", {"epsilon": 1e-3}))) == [0, 0, 0]


# Report 002


def brain(size=(200, 210, 155), low=(60, 70, 40), high=(121, 141, 101)) -> PreparedCase:
    """Flair with one block above 0, whose corner voxels are ``low`` and ``high`` - 1, and a label in it."""
    flair = np.zeros(size[::-1], np.int16)
    flair[low[2] : high[2], low[1] : high[1], low[0] : high[0]] = 100
    grid = Grid(size, (1.0, 1.0, 1.0), (-100.0, -120.0, 30.0))
    images = {name: Image(flair, grid, "MR") for name in ("FLAIR", "T1")}
    return PreparedCase(images, "FLAIR", labels=Image((flair > 0).astype(np.uint8), grid))


def test_crop_round_the_centre_of_mass_by_hand():
    case = brain()
    # The block is centred at voxel (90, 105, 70).
    result = apply(case, ("crop_center_of_mass", {}))
    assert result.grid.size == (144, 160, 128)
    assert case.grid.to_index([result.grid.origin])[0] == pytest.approx([90 - 72, 105 - 84, 70 - 64])
    assert result.labels.array.sum() == case.labels.array.sum()
    for name in ("FLAIR", "T1"):
        assert np.array_equal(result.images[name].array, case.images[name].array[6:134, 21:181, 18:162])


@pytest.mark.parametrize(
    ("low", "high", "start"),
    [((0, 0, 0), (11, 11, 11), (0, 0, 0)), ((180, 190, 140), (200, 210, 155), (56, 50, 27))],
)
def test_box_is_shifted_into_the_volume(low, high, start):
    case = brain(low=low, high=high)
    result = apply(case, ("crop_center_of_mass", {}))
    assert case.grid.to_index([result.grid.origin])[0] == pytest.approx(start)


def test_small_volume_is_padded_all_round():
    case = brain(size=(100, 170, 60), low=(10, 80, 10), high=(21, 91, 21))
    result = apply(case, ("crop_center_of_mass", {"fill": -5}))
    assert result.grid.size == (144, 160, 128)
    assert case.grid.to_index([result.grid.origin])[0] == pytest.approx([-22, 1, -34])
    flair = result.images["FLAIR"].array
    assert np.array_equal(flair[34:94, :, 22:122], case.images["FLAIR"].array[:, 1:161])
    assert (flair[:34] == -5).all() and (flair[:, :, 122:] == -5).all()
    assert result.labels.array.sum() == case.labels.array.sum()


def test_centre_of_mass_of_another_input_and_of_none():
    case = brain()
    shifted = case.images["T1"].with_array(np.roll(case.images["T1"].array, 20, axis=2))
    case = case.with_images({**case.images, "T1": shifted})
    result = apply(case, ("crop_center_of_mass", {"input": "T1"}))
    assert case.grid.to_index([result.grid.origin])[0][0] == pytest.approx(110 - 72)
    empty = case.with_images({"FLAIR": shifted.with_array(np.zeros_like(shifted.array))})
    middle = apply(empty, ("crop_center_of_mass", {"size": [20, 20, 20], "before": [10, 10, 10]}))
    assert case.grid.to_index([middle.grid.origin])[0] == pytest.approx([90, 95, 67])
    assert codes(empty) == ["empty-image"]
    with pytest.raises(ModelError, match="no input 'T2'"):
        apply(case, ("crop_center_of_mass", {"input": "T2"}))


@pytest.mark.parametrize("direction", [(1, 0, 0, 0, 1, 0, 0, 0, 1), TURNED])
@pytest.mark.parametrize(
    ("step", "size"), [("resize", [10, 6, 8]), ("resize", [60, 50, 33]), ("resize_in_plane", [8, 7])]
)
def test_resized_corners_stay(direction, step, size):
    grid = Grid((40, 30, 16), (1.0, 1.2, 3.0), (5.0, -7.0, 9.0), direction)
    case = PreparedCase(
        {"CT": Image(np.zeros(grid.shape, np.float32), grid)}, "CT", labels=Image(np.zeros(grid.shape), grid)
    )
    result = apply(case, (step, {"size": size}))
    assert list(result.grid.size) == (size if len(size) == 3 else [*size, 16])
    assert result.grid.corners() == pytest.approx(grid.corners())
    assert result.labels.grid == result.grid


def test_resize_by_hand():
    case = PreparedCase(
        {"MR": image(np.arange(8, dtype=np.float32).reshape(1, 1, 8), "MR", "")},
        "MR",
        labels=image(np.array([[[0, 0, 0, 4, 4, 4, 2, 2]]], np.uint8)),
    )
    result = apply(case, ("resize", {"size": [4, 1, 1]}))
    assert values(result, "MR") == [0.5, 2.5, 4.5, 6.5]
    assert set(result.labels.array.ravel()) <= {0, 2, 4}
    assert apply(case, ("resize", {"size": [2, 1, 1], "interpolation": "nearest"})).grid.spacing[0] == 4


def test_hand_mri_becomes_120_x_120_x_64_and_comes_back():
    grid = Grid((480, 480, 280), (0.5, 0.5, 0.6), (-120.0, -120.0, -84.0))
    hand = Image(np.zeros(grid.shape, np.int16), grid, "MR")
    hand.array[:, :, 240:] = 100
    result = apply(PreparedCase({"MR": hand}, "MR"), ("resize", {"size": [120, 120, 64]}))
    assert result.grid.size == (120, 120, 64)
    assert result.grid.spacing == pytest.approx((2.0, 2.0, 0.6 * 4.375))
    assert result.grid.corners() == pytest.approx(grid.corners())
    small = result.images["MR"]
    assert (small.array[:, :, :60] == 0).all() and (small.array[:, :, 60:] == 100).all()
    labels = small.with_array((small.array > 0).astype(np.uint8))
    assert np.array_equal(restored(labels, grid), hand.array > 0)


def test_labels_of_other_sizes_are_the_same_labels():
    array = np.zeros((60, 50, 40), np.uint8)
    for value, start in ((1, 5), (2, 20), (4, 34)):
        array[start : start + 12, start : start + 12, start : start + 5] = value
    case = PreparedCase({"T1": image(array.astype(np.float32))}, "T1", labels=image(array))
    for side in (32, 96):
        result = apply(case, ("resize", {"size": [side] * 3}))
        assert result.labels.array.shape == (side,) * 3 and result.labels.array.dtype == np.uint8
        assert set(np.unique(result.labels.array)) == {0, 1, 2, 4}
        for value in (1, 2, 4):
            volume = np.count_nonzero(result.labels.array == value) * result.grid.voxel_ml
            expected = np.count_nonzero(array == value) * case.grid.voxel_ml
            assert volume == pytest.approx(expected, rel=0.35 if side == 32 else 0.1)


def test_down_and_up_by_four_keeps_a_smooth_mask():
    grid = Grid((96, 96, 64), (1.0, 1.0, 1.0))
    truth = ball(grid, (47, 50, 30), 24)
    soft = Image(truth.array.astype(np.float32), grid)
    small = apply(PreparedCase({"MR": soft}, "MR", labels=truth), ("resize", {"size": [24, 24, 16]}))
    assert dice(restored(small.images["MR"], grid), truth.array) >= 0.97
    assert set(np.unique(small.labels.array)) == {0, 1}


# Report 004


def test_divide_by_maximum_by_hand():
    first, second = [[[1, 2], [4, 0]], [[0, 5], [10, 5]]], [[[0, 0], [0, 0]], [[-2, -1], [-4, -8]]]
    case = PreparedCase({"T1": image(np.int16(first)), "T2": image(np.int16(second))}, "T1")
    result = apply(case, ("divide_by_maximum", {}))
    assert values(result, "T1") == pytest.approx([0.1, 0.2, 0.4, 0, 0, 0.5, 1, 0.5])
    assert values(result, "T2") == [0, 0, 0, 0, -2, -1, -4, -8]
    assert result.images["T1"].array.dtype == np.float32
    slices = apply(case, ("divide_by_maximum", {"per_slice": True, "inputs": ["T1"]}))
    assert values(slices, "T1") == pytest.approx([0.25, 0.5, 1, 0, 0, 0.5, 1, 0.5])
    assert slices.images["T2"] is case.images["T2"]


@pytest.mark.parametrize("slices", [1, 3, 6])
def test_cubic_resizing_equals_the_spline_and_overshoots(slices):
    generator = np.random.default_rng(2)
    array = generator.random((slices, 32, 40)).astype(np.float32)
    labels = image((array > 0.5).astype(np.uint8))
    result = apply(
        PreparedCase({"T1": image(array)}, "T1", labels=labels), ("resize_in_plane", {"size": [10, 8]})
    )
    rows, columns = np.meshgrid(np.arange(8) * 4 + 1.5, np.arange(10) * 4 + 1.5, indexing="ij")
    for before, after in zip(array, result.images["T1"].array, strict=True):
        expected = ndimage.map_coordinates(before, [rows, columns], order=3, mode="mirror")
        assert after == pytest.approx(expected, abs=1e-5)
    assert result.labels.array.shape == (slices, 8, 10) and set(np.unique(result.labels.array)) <= {0, 1}
    edge = np.zeros((1, 32, 32), np.float32)
    edge[:, :, 17:] = 1
    cubic = apply(PreparedCase({"T1": image(edge)}, "T1"), ("resize_in_plane", {"size": [8, 8]}))
    assert 1.01 < cubic.images["T1"].array.max() < 1.2
    linear = apply(
        PreparedCase({"T1": image(edge)}, "T1"),
        ("resize_in_plane", {"size": [8, 8], "interpolation": "linear"}),
    )
    assert linear.images["T1"].array.min() >= 0 and linear.images["T1"].array.max() <= 1


def test_cubic_values_of_integers_do_not_wrap():
    edge = np.zeros((4, 32, 32), np.uint8)
    edge[:, :, 17:] = 255
    result = apply(PreparedCase({"T1": image(edge)}, "T1"), ("resize_in_plane", {"size": [8, 8]}))
    row = result.images["T1"].array[0, 0].astype(int)
    assert (row[:4] <= 20).all() and (row[4:] >= 235).all()


@pytest.mark.parametrize(
    ("step", "constants"),
    [
        ("resize", {"size": [4, 4]}),
        ("resize", {"size": [4, 4, 0]}),
        ("resize", {"size": [4, 4, 4], "interpolation": "sinc"}),
        ("resize_in_plane", {"size": [4.5, 4]}),
        ("resample_to_box", {"size": [4, 4]}),
        ("crop_center_of_mass", {"before": [4, 4]}),
        ("histogram_equalise", {"levels": 1}),
        ("recognise_window", {"low": 3, "high": 3}),
        ("recognise_window", {"low": 0, "high": 80}),
    ],
)
def test_impossible_constants_name_the_step(step, constants):
    with pytest.raises(ModelError, match=f"Step '{step}'"):
        known_steps()[step](line(1, 2, 3, 4), **constants)


# Report 003


def lungs(*inside) -> Image:
    return image(np.array(inside, np.uint8).reshape(1, 1, -1))


def test_mask_outside_and_zscore_in_the_lungs_by_hand():
    case = line(-900, -800, -700, 40, 3000, dtype=np.int16).with_mask("lungs", lungs(1, 1, 1, 0, 0))
    masked = apply(case, ("mask_outside", {"mask": "lungs"}))
    assert values(masked) == [-900, -800, -700, 0, 0]
    assert masked.images["CT"].array.dtype == np.int16
    assert values(case)[4] == 3000
    scored = apply(masked, ("zscore", {"mask": "lungs", "outside": 0}))
    step = 100 / np.sqrt(20000 / 3)
    assert values(scored) == pytest.approx([-step, 0, step, 0, 0])
    other = line(-900, -800, -700, -5000, 77).with_mask("lungs", lungs(1, 1, 1, 0, 0))
    assert values(apply(other, ("zscore", {"mask": "lungs", "outside": 0}))) == pytest.approx(values(scored))
    treated_alike = apply(case, ("zscore", {"mask": "lungs"}))
    assert values(treated_alike)[3] == pytest.approx(840 / np.sqrt(20000 / 3))


def test_mask_outside_of_each_input_and_type():
    images = {"CT": image(np.array([[[5, 6]]], np.uint8)), "PET": image(np.array([[[1.5, 2.5]]], np.float32))}
    case = PreparedCase(images, "CT", masks={"lungs": lungs(1, 0)})
    result = apply(case, ("mask_outside", {"mask": "lungs", "value": {"CT": -1000, "PET": 0.5}}))
    assert values(result) == [5, -1000] and values(result, "PET") == [1.5, 0.5]
    only = apply(case, ("mask_outside", {"mask": "lungs", "inputs": ["PET"]}))
    assert only.images["CT"] is case.images["CT"] and values(only, "PET") == [1.5, 0]
    elsewhere = case.with_mask("lungs", Image(np.ones((1, 1, 3), np.uint8), Grid((3, 1, 1))))
    with pytest.raises(ModelError, match="'CT' is not on the grid of the mask 'lungs'"):
        apply(elsewhere, ("mask_outside", {"mask": "lungs"}))


@pytest.mark.parametrize("masks", [{}, {"lungs": lungs(0, 0)}])
def test_mask_outside_without_a_mask_warns(masks):
    case = PreparedCase(line(1, 2).images, "CT", masks=masks)
    assert values(apply(case, ("mask_outside", {"mask": "lungs"}))) == [1, 2]
    assert codes(case) == ["empty-mask"]


def test_histogram_equalise_by_hand():
    assert values(apply(line(0, 0, 0, 4), ("histogram_equalise", {"levels": 4}))) == [0, 0, 0, 1]
    # Bins [0,1) [1,2) [2,3) [3,4] hold 1, 1, 0 and 2 of 4 values.
    assert values(apply(line(0, 1, 3, 4), ("histogram_equalise", {"levels": 4}))) == [0, 0.25, 0.5, 1]
    masked = line(0, 1, 3, 4, 900, -900).with_mask("lungs", lungs(1, 1, 1, 1, 0, 0))
    result = apply(masked, ("histogram_equalise", {"levels": 4, "mask": "lungs"}))
    assert values(result) == [0, 0.25, 0.5, 1, 1, 0]
    assert values(apply(line(3, 3), ("histogram_equalise", {}))) == [0, 0]


def test_histogram_equalise_makes_the_shares_even_and_keeps_the_order():
    array = np.random.default_rng(1).normal(-800, 60, (10, 20, 20)).astype(np.float32)
    result = apply(PreparedCase({"CT": image(array)}, "CT"), ("histogram_equalise", {})).images["CT"].array
    assert np.histogram(result, 10, (0, 1))[0] == pytest.approx(np.full(10, 400), rel=0.2)
    order = np.argsort(array, axis=None)
    assert (np.diff(result.ravel()[order]) >= 0).all()


def test_window_is_recognised_with_a_warning():
    case = line(0, 51, 127.5, 255)
    result = apply(case, ("recognise_window", {}))
    assert values(result) == pytest.approx([-1250, -950, -500, 250], abs=1e-3)
    assert codes(case) == ["display-window"] and "-1250 to 250 HU" in case.reporter.warnings[0]["text"]
    stored = apply(line(0, 51, 255, dtype=np.uint8), ("recognise_window", {"low": -1000, "high": 500}))
    assert values(stored) == pytest.approx([-1000, -700, 500], abs=1e-3)
    again = line(100, 128, 255)
    first = apply(again, ("recognise_window", {"low": -500, "high": 499}))
    assert values(apply(first, ("recognise_window", {}))) == values(first)


@pytest.mark.parametrize("ordinary", [(-1000, 40, 255), (0, 40, 1200), (110, 150, 200), (0, 1), (0, 1, 2)])
def test_hounsfield_units_and_masks_are_no_window(ordinary):
    case = line(*ordinary)
    assert values(apply(case, ("recognise_window", {}))) == list(ordinary)
    assert not codes(case)


def test_windowed_ct_passes_the_check_only_for_a_model_that_restores_it():
    ct = image(np.linspace(0, 255, 64, dtype=np.float32).reshape(4, 4, 4))
    check_image(ct, "CT", modality="CT", unit="HU", windowed=True)
    with pytest.raises(InputError, match="8-bit display values"):
        check_image(ct, "CT", modality="CT", unit="HU")
    with pytest.raises(InputError, match="not in Hounsfield units"):
        check_image(ct.with_array(ct.array * 4), "CT", modality="CT", unit="HU", windowed=True)


def test_one_millimetre_in_plane_keeps_the_extent():
    grid = Grid((70, 60, 5), (0.71, 0.71, 5.0), (3.0, 4.0, 5.0))
    case = PreparedCase({"CT": Image(np.zeros(grid.shape, np.int16), grid)}, "CT")
    result = apply(case, ("resample_in_plane", {"spacing": 1.0}))
    assert result.grid.spacing == (1, 1, 5) and result.grid.size[2] == 5
    assert np.abs(result.grid.corners() - grid.corners()).max() <= 1


# Through the pipeline

CPU = {"device": "cpu", "precision": "fp32"}
WINDOW = {"step": "window", "low": -1000, "high": 200}


def soft_ball(centre=(4.0, -3.0, 2.0), radius=9.0) -> Image:
    """A ball of 100 HU in air with a soft border that passes -400 HU near the radius."""
    grid = Grid((40, 36, 20), (1.5, 1.5, 3.0), (-29.0, -26.0, -28.0))
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.size), indexing="ij"), axis=-1)
    distance = np.linalg.norm(grid.to_physical(index.reshape(-1, 3)) - centre, axis=1)
    values = -1000 + 1100 * np.clip((radius + 2 - distance) / 4, 0, 1)
    array = values.reshape(grid.size).transpose(2, 1, 0).astype(np.float32)
    return Image(array, grid, "CT", "HU")


def test_windowed_ct_is_segmented_and_measured_in_hounsfield_units(tmp_path):
    steps = [{"step": "recognise_window"}, {"step": "canonical", "spacing": [2, 2, 3], "outside": -1000}]
    model = write_threshold_package(tmp_path / "model", preprocessing=[*steps, WINDOW])
    ct = soft_ball()
    shown = ct.with_array(np.rint((ct.array.clip(-1250, 250) + 1250) / 1500 * 255))
    shown.array[0, 0, 0] = 255
    plain, windowed = (segment({"CT": each}, model, SegmentOptions(**CPU)) for each in (ct, shown))
    assert [event["code"] for event in windowed.warnings] == ["display-window"] and not plain.warnings
    assert dice(windowed.labels.array, plain.labels.array) > 0.98
    assert windowed.lesions[0]["maximum"] == pytest.approx(100, abs=3)


def test_region_brings_the_box_and_the_result_comes_back(tmp_path):
    box = {"step": "resample_to_box", "spacing": [1, 1, 1], "size": [48, 48, 48], "outside": -1000}
    model = write_threshold_package(tmp_path / "model", preprocessing=[box, WINDOW])
    ct = soft_ball()
    truth = ct.array >= -400
    whole = segment({"CT": ct}, model, SegmentOptions(**CPU))
    in_box = segment({"CT": ct}, model, SegmentOptions(roi=(-18, 10, -10, 16, -10, 14), **CPU))
    for result in (whole, in_box):
        assert result.labels.grid == ct.grid
        assert dice(result.labels.array, truth) > 0.97
    beside = SegmentOptions(roi=(300, 320, 0, 10, 0, 10), **CPU)
    with pytest.raises(InputError, match="region of interest"):
        segment({"CT": ct}, model, beside)


@pytest.mark.parametrize(
    "step", [{"step": "resize", "size": [32, 28, 24]}, {"step": "resize_in_plane", "size": [28, 32]}]
)
def test_result_of_a_resized_image_lies_where_the_ball_is(tmp_path, step):
    model = write_threshold_package(tmp_path / "model", preprocessing=[step, WINDOW])
    ct = soft_ball()
    result = segment({"CT": ct}, model, SegmentOptions(**CPU))
    assert result.labels.grid == ct.grid
    assert dice(result.labels.array, ct.array >= -400) > 0.95
    assert result.lesions[0]["centroid_ras"] == pytest.approx([-4, 3, 2], abs=0.3)


# Real images


@pytest.mark.real_data
def test_real_pet_ct_in_one_box_and_back():
    folder = real_file("petct", "STS_003")
    ct = read_image(folder / "CT_image.nii.gz", modality="CT", unit="HU")
    pet = read_image(folder / "PET_image.nii.gz", modality="PET", unit="SUV")
    tumour, hot = read_labels(folder / "CT_mask.nii.gz"), read_labels(folder / "PET_mask.nii.gz")
    index = np.argwhere(tumour.array != 0).mean(axis=0)[::-1]
    x, y, z = ct.grid.to_physical(index[None])[0]
    region = (-x - 72, -x + 72, -y - 72, -y + 72, z - 72, z + 72)
    case = PreparedCase({"CT": ct, "PET": pet}, "CT", labels=tumour, masks={"hot": hot}, region=region)
    prepared = apply(
        case,
        ("resample_to_box", {"outside": {"CT": -1024, "PET": 0}}),
        ("clip", {"low": -1024, "high": 1024, "inputs": ["CT"]}),
        ("scale", {"factor": 1 / 1024, "inputs": ["CT"]}),
        ("zscore", {"epsilon": 1e-3, "inputs": ["PET"]}),
    )
    assert prepared.channels(["CT", "PET"]).shape == (2, 144, 144, 144)
    assert prepared.grid.corners().mean(axis=0) == pytest.approx([x, y, z])
    scored = prepared.images["PET"].array
    assert abs(scored.mean()) < 1e-3 and scored.std() == pytest.approx(1, abs=0.01)
    hottest = prepared.masks["hot"].array != 0
    assert scored[hottest].mean() > 3 * abs(scored[~hottest].mean())
    assert dice(prepared.labels.array, prepared.masks["hot"].array) > 0.8
    inside = np.zeros(ct.grid.shape, bool)
    corners = np.rint(ct.grid.to_index(prepared.grid.corners())).clip(0).astype(int)
    (i, j, k), (ii, jj, kk) = corners.min(axis=0) + 2, corners.max(axis=0) - 2
    inside[k:kk, j:jj, i:ii] = True
    assert dice(restored(prepared.labels, ct.grid) * inside, tumour.array * inside) > 0.95


@pytest.mark.real_data
def test_real_brain_box_holds_the_whole_brain_and_tumour():
    folder = real_file("brain", "TCGA-FG-6692")
    flair = read_image(folder / "fla.nii.gz", modality="MR")
    labels = read_labels(folder / "seg_fusion_mav.nii.gz")
    case = PreparedCase({"FLAIR": flair}, "FLAIR", labels=labels)
    box = apply(case, ("canonical", {"spacing": [1, 1, 1]}), ("crop_center_of_mass", {}), ("zscore", {}))
    assert box.grid.size == (144, 160, 128)
    assert (
        np.bincount(box.labels.array.ravel())[1:].tolist() == np.bincount(labels.array.ravel())[1:].tolist()
    )
    back = resample(box.labels, flair.grid, interpolation="nearest")
    assert np.array_equal(back.array, labels.array)
    small = apply(box, ("resize", {"size": [36, 40, 32]}))
    assert small.grid.corners() == pytest.approx(box.grid.corners())
