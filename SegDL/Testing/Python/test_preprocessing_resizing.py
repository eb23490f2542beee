"""Images brought to another size: corners, values, labels, and the way back."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.preprocessing.registry import PreparedCase
from step_cases import apply, ball, dice, image, restored, values

TURNED = (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


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


def test_one_millimetre_in_plane_keeps_the_extent():
    grid = Grid((70, 60, 5), (0.71, 0.71, 5.0), (3.0, 4.0, 5.0))
    case = PreparedCase({"CT": Image(np.zeros(grid.shape, np.int16), grid)}, "CT")
    result = apply(case, ("resample_in_plane", {"spacing": 1.0}))
    assert result.grid.spacing == (1, 1, 5) and result.grid.size[2] == 5
    assert np.abs(result.grid.corners() - grid.corners()).max() <= 1
