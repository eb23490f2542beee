"""Resampling and cropping: hand examples, and one lattice for every copy of a scan."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from SegDLEngine.images.cropping import bounding_box, crop, lattice_offset, occupied, paste
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.images.resampling import antialiased, canonical_grid, resample


def ramp(grid: Grid, dtype=np.float32) -> Image:
    """A linear function of the physical point: 2x + 3y - 5z + 7."""
    k, j, i = np.meshgrid(*map(np.arange, grid.shape), indexing="ij")
    points = grid.to_physical(np.column_stack([i.ravel(), j.ravel(), k.ravel()]))
    return Image((points @ [2, 3, -5] + 7).reshape(grid.shape).astype(dtype), grid)


def line(values, spacing=1.0, origin=0.0) -> Image:
    array = np.asarray(values)
    return Image(array.reshape(1, 1, -1), Grid((array.size, 1, 1), (spacing, 1, 1), (origin, 0, 0)))


def test_linear_by_hand():
    target = Grid((6, 1, 1), (0.5, 1, 1), (-0.75, 0, 0))
    result = resample(line(np.float32([10, 20])), target, outside=-7)
    assert result.array.ravel().tolist() == [-7, 10, 12.5, 17.5, 20, -7]


def test_nearest_by_hand_keeps_labels():
    target = Grid((5, 1, 1), (0.5, 1, 1), (-0.25, 0, 0))
    result = resample(line(np.uint8([3, 9])), target, interpolation="nearest", outside=0)
    assert result.array.ravel().tolist() == [3, 3, 9, 9, 0]
    assert result.array.dtype == np.uint8


def test_values_of_the_other_byte_order_are_the_same():
    target = Grid((3, 1, 1), (0.5, 1, 1), (0.25, 0, 0))
    for kind in (">i2", ">f4"):
        result = resample(line(np.array([-1000, 40], kind)), target, outside=-1000)
        assert result.array.ravel().tolist() == [-740, -220, 40]


@pytest.mark.parametrize("interpolation", ["linear", "nearest", "cubic"])
def test_outside_is_the_nearest_value_that_the_type_holds(interpolation):
    target = Grid((3, 1, 1), (1, 1, 1), (-1, 0, 0))
    result = resample(line(np.uint8([3, 9])), target, interpolation=interpolation, outside=-1000)
    assert result.array.ravel().tolist() == [0, 3, 9]


def test_integers_are_rounded_not_cut():
    target = Grid((4, 1, 1), (1, 1, 1), (0.75, 0, 0))
    result = resample(line(np.int16([-9, -10, -12, -13, -13])), target, outside=-1000)
    assert result.array.dtype == np.int16
    assert result.array.ravel().tolist() == [-10, -12, -13, -13]


def test_bool_mask_stays_a_mask():
    result = resample(
        line(np.array([True, False])), Grid((4, 1, 1), (0.5, 1, 1), (-0.25, 0, 0)), interpolation="nearest"
    )
    assert result.array.dtype == bool
    assert result.array.ravel().tolist() == [True, True, False, False]


def test_linear_function_is_exact_between_oblique_grids():
    angle = 0.4
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, -1.0]])
    source = ramp(Grid((40, 40, 20), (1, 1, 2), (-20, -20, -20)))
    target = Grid((10, 11, 6), (0.9, 1.1, 1.7), (-3, -6, 8), tuple(turn.ravel()))
    assert np.abs(resample(source, target).array - ramp(target).array).max() < 1e-4


def test_same_grid_is_not_touched():
    image = ramp(Grid((4, 5, 6)))
    assert resample(image, Grid((4, 5, 6))).array is image.array


def test_unknown_interpolation():
    with pytest.raises(ValueError, match="sinc"):
        resample(line([1, 2]), Grid((1, 1, 1)), interpolation="sinc")


def test_canonical_grid_by_hand():
    grid = canonical_grid(Grid((10, 10, 4), (1, 1, 3), (0.2, -4.9, 10)), (2, 2, 3))
    # x covers -0.3..9.7: centres 0..10; y -5.4..4.6: -6..4; z 8.5..20.5: 9..21.
    assert grid.origin == (0, -6, 9)
    assert grid.size == (6, 6, 5)
    assert grid.direction == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    low, high = grid.corners().min(axis=0), grid.corners().max(axis=0)
    assert np.all(low <= [-0.3, -5.4, 8.5]) and np.all(high >= [9.7, 4.6, 20.5])


def turned(image: Image, order: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> Image:
    """The same scan stored with permuted and flipped axes (i, j, k)."""
    axes = image.grid.axes[:, order]
    spacing = np.asarray(image.grid.spacing)[list(order)]
    size = np.asarray(image.grid.size)[list(order)]
    array = image.array.transpose(*[2 - order[2 - axis] for axis in range(3)])
    origin = np.asarray(image.grid.origin)
    axes = axes.copy()
    for axis, flip in enumerate(flips):
        if flip:
            origin = origin + axes[:, axis] * spacing[axis] * (size[axis] - 1)
            axes[:, axis] *= -1
            array = np.flip(array, 2 - axis)
    return Image(
        np.ascontiguousarray(array), Grid(tuple(size), tuple(spacing), tuple(origin), tuple(axes.ravel()))
    )


def test_every_orientation_gives_the_same_canonical_image():
    values = np.random.default_rng(1).integers(-1000, 1000, (7, 9, 8)).astype(np.int16)
    image = Image(values, Grid((8, 9, 7), (0.9765625, 0.7, 2.5), (-11.3, 4.7, 100.1)))
    target = canonical_grid(image.grid, (1.5, 1.5, 3.0))
    expected = resample(image, target, outside=-1000).array
    assert (expected != -1000).any()
    for order in itertools.permutations(range(3)):
        for flips in itertools.product([False, True], repeat=3):
            copy = turned(image, order, flips)
            grid = canonical_grid(copy.grid, (1.5, 1.5, 3.0))
            assert grid == target
            # A value half-way between two whole numbers may round to either.
            assert np.abs(resample(copy, grid, outside=-1000).array.astype(int) - expected).max() <= 1


def test_oblique_copy_lies_on_the_same_lattice():
    def smooth(grid: Grid) -> Image:
        k, j, i = np.meshgrid(*map(np.arange, grid.shape), indexing="ij")
        points = grid.to_physical(np.column_stack([i.ravel(), j.ravel(), k.ravel()]))
        return Image(np.exp(-(points**2).sum(1) / 200).reshape(grid.shape).astype(np.float32), grid)

    straight = Grid((60, 60, 40), (1, 1, 1.5), (-30, -29.3, -30.2))
    a, b = 0.35, -0.25
    first = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    turn = first @ np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    origin = -turn @ np.array([30, 30, 30])
    oblique = Grid((60, 60, 40), (1, 1, 1.5), tuple(origin), tuple(turn.ravel()))
    one, two = (
        resample(image, canonical_grid(image.grid, (1.5, 1.5, 3)))
        for image in map(smooth, (straight, oblique))
    )
    start = lattice_offset(two.grid, one.grid)
    two = crop(two, start, one.grid.size)
    inside = one.array > 0.2
    assert inside.sum() > 500
    assert np.abs(one.array - two.array)[inside].max() < 0.01


def test_thin_slice_keeps_its_values():
    for height in (-136.5, -135.0, -134.2):
        image = Image(np.full((1, 20, 20), 40, np.int16), Grid((20, 20, 1), (1, 1, 1.25), (0, 0, height)))
        grid = canonical_grid(image.grid, (1.5, 1.5, 3))
        assert grid.size[2] == 1
        assert (resample(image, grid, outside=-1000).array == 40).mean() > 0.8


def test_bad_spacing():
    with pytest.raises(ValueError, match="positive"):
        canonical_grid(Grid((3, 3, 3)), (1, 0, 1))


GRID = Grid((7, 6, 5), (0.5, 1, 2), (3, -4, 5), (0, -1, 0, 1, 0, 0, 0, 0, 1))


@pytest.mark.parametrize(
    ("start", "size"), [((1, 2, 3), (4, 3, 2)), ((-2, -1, -3), (12, 9, 11)), ((3, -2, 1), (9, 4, 2))]
)
def test_crop_and_paste_keep_every_voxel_in_place(start, size):
    image = ramp(GRID, np.float64)
    patch = crop(image, start, size, fill=-99)
    inside = patch.array != -99
    assert np.abs(patch.array - ramp(patch.grid, np.float64).array)[inside].max() < 1e-9
    assert inside.sum() == np.prod(
        [min(s + n, m) - max(s, 0) for s, n, m in zip(start, size, GRID.size, strict=True)]
    )
    back = paste(patch, GRID, fill=-99)
    assert back.grid == GRID
    kept = back.array != -99
    assert kept.sum() == inside.sum()
    assert np.array_equal(back.array[kept], image.array[kept])


def test_box_beside_the_image_is_all_fill():
    patch = crop(ramp(GRID), (20, 0, 0), (2, 2, 2), fill=5)
    assert (patch.array == 5).all()
    assert (paste(patch, GRID, fill=1).array == 1).all()


def test_paste_refuses_another_lattice():
    image = ramp(GRID)
    moved = Grid(GRID.size, GRID.spacing, (3.2, -4, 5), GRID.direction)
    finer = Grid(GRID.size, (0.4, 1, 2), GRID.origin, GRID.direction)
    turned_grid = Grid((1, 1, 1), GRID.spacing, GRID.origin)
    for grid in (moved, finer, turned_grid):
        with pytest.raises(ValueError):
            paste(Image(np.zeros(grid.shape), grid), image.grid)


def test_bounding_box_with_margin():
    mask = np.zeros(GRID.shape, np.uint8)
    mask[2, 3, 4] = mask[3, 3, 5] = 1
    image = Image(mask, GRID)
    assert bounding_box(image) == ((4, 3, 2), (2, 1, 2))
    assert bounding_box(image, margin_mm=1.0) == ((2, 2, 1), (5, 3, 4))
    assert bounding_box(image, margin_mm=100) == ((0, 0, 0), GRID.size)
    assert bounding_box(image.with_array(np.zeros(GRID.shape))) is None


def test_antialiasing_smooths_only_axes_on_which_the_target_is_coarser():
    rng = np.random.default_rng(4)
    noise = Image(rng.normal(0, 1, (40, 40, 40)).astype(np.float32), Grid((40, 40, 40), (1.0, 1.0, 3.0)))
    target = Grid((20, 20, 40), (2.0, 2.0, 3.0))
    smooth = antialiased(noise, target, 0.5).array
    step = [np.diff(smooth, axis=axis).std() / np.diff(noise.array, axis=axis).std() for axis in range(3)]
    still = smooth.std() / noise.array.std()
    # A Gaussian of sigma s voxels leaves 1 / (2 s sqrt(pi)) of the variance along an axis: s = 0.87 here.
    assert still == pytest.approx(1 / (2 * 0.866 * np.sqrt(np.pi)), rel=0.06)
    assert step[0] == pytest.approx(still, rel=0.05), "the slices are as far apart as before"
    assert step[1] < 0.8 * still and step[2] < 0.8 * still


def test_antialiasing_leaves_an_image_alone_that_is_not_finer():
    image = Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), Grid((5, 4, 3), (2.0, 2.0, 3.0)))
    assert antialiased(image, Grid((5, 4, 3), (2.0, 2.0, 3.0)), 0.5) is image
    assert antialiased(image, Grid((9, 9, 9), (1.0, 1.0, 1.0)), 0.5) is image


def test_antialiasing_makes_fine_and_coarse_copies_agree():
    _, j, i = np.mgrid[:30, :90, :90]
    fine = Image(
        (np.hypot(i - 44.3, j - 45.1) < 20).astype(np.float32) * 1000, Grid((90, 90, 30), (0.7, 0.7, 2.0))
    )
    coarse = canonical_grid(fine.grid, (2.0, 2.0, 2.0))
    medium = resample(
        antialiased(fine, Grid((9, 9, 9), (1.3, 1.3, 2.0)), 0.4), canonical_grid(fine.grid, (1.3, 1.3, 2.0))
    )
    plain = np.abs(resample(medium, coarse).array - resample(fine, coarse).array).mean()
    both = np.abs(
        resample(antialiased(medium, coarse, 0.4), coarse).array
        - resample(antialiased(fine, coarse, 0.4), coarse).array
    ).mean()
    assert both < 0.5 * plain


def test_the_occupied_part_of_nothing_is_none_and_margins_stop_at_the_edge():
    mask = np.zeros((4, 6, 8), bool)
    assert occupied(mask) is None
    mask[2, 3, 7] = True
    assert occupied(mask) == (slice(2, 3), slice(3, 4), slice(7, 8))
    assert occupied(mask, (1, 5, 2)) == (slice(1, 4), slice(0, 6), slice(5, 8))
