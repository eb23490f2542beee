"""Where voxels go: angles, axes, zooms and shifts as the reports give them, voxels that are no cubes too."""

from __future__ import annotations

import math

import pytest
import torch
from fixed_draws import FixedDraws, linear_map, places
from SegDLEngine.errors import InputError
from SegDLTrainingLib.augmentation import planes
from SegDLTrainingLib.augmentation.registry import known_augmentations
from SegDLTrainingLib.augmentation.slices import SliceAugmentation, sample
from SegDLTrainingLib.draws import Draws

STEPS = known_augmentations()


def no_labels(images: torch.Tensor) -> torch.Tensor:
    return torch.zeros(len(images), *images.shape[2:], dtype=torch.uint8)


def rotation(axis: str, degrees: float) -> torch.Tensor:
    """Matrix over (i, j, k), or (i, j) about k."""
    one, other = {"i": (1, 2), "j": (2, 0), "k": (0, 1)}[axis]
    matrix = torch.eye(3)
    matrix[one, one] = matrix[other, other] = math.cos(math.radians(degrees))
    matrix[other, one] = math.sin(math.radians(degrees))
    matrix[one, other] = -matrix[other, one]
    return matrix


@pytest.mark.parametrize("share, sign", [(1.0, 1), (0.0, -1), (0.5, 0)])
def test_slices_of_report_001_move_by_a_tenth_and_turn_by_ten_degrees(share, sign):
    before = places(60, 120)
    grid = SliceAugmentation(mirror=0.0).sampling_grid(before.shape, FixedDraws(1, share))
    matrix, shift = linear_map(before, sample(before, grid))
    assert shift.tolist() == pytest.approx([sign * 12, sign * 6], abs=1e-3)
    expected = rotation("k", 10 * sign)[:2, :2] * (1 + 0.1 * sign)
    assert torch.allclose(matrix, expected, atol=1e-4)


def test_slices_are_zoomed_along_each_axis_apart():
    class Zooms(FixedDraws):
        values = iter([0.0, 0.1, -0.05, 0.0, 0.0])

        def uniform(self, low, high, *shape):
            return torch.full((1, *shape), next(self.values))

    before = places(60, 120)
    grid = SliceAugmentation(mirror=0.0).sampling_grid(before.shape, Zooms(1, 0.5))
    matrix, _ = linear_map(before, sample(before, grid))
    assert torch.allclose(matrix, torch.diag(torch.tensor([1.1, 0.95])), atol=1e-4)


@pytest.mark.parametrize("axis", ["i", "j", "k"])
@pytest.mark.parametrize("share, sign", [(1.0, 1), (0.0, -1)])
def test_affine_turns_about_the_named_axis_in_millimetres(axis, share, sign):
    """Voxels of 1 x 2 x 3 mm, a patch with three different sides."""
    spacing = (1.0, 2.0, 3.0)
    before = places(16, 24, 40, spacing=spacing)
    limits = [25.0 if name == axis else 0.0 for name in "ijk"]
    after, _ = STEPS["affine"](
        before.clone(), no_labels(before), FixedDraws(1, share), limits, zoom=0.1, spacing=spacing
    )
    matrix, shift = linear_map(before, after)
    assert torch.allclose(matrix, rotation(axis, 25 * sign) * (1 + 0.1 * sign), atol=1e-4)
    assert shift.abs().max() < 1e-3


@pytest.mark.parametrize("axis", ["i", "j", "k"])
def test_planes_turn_by_the_angle_in_patches_of_unequal_sides(axis):
    before = places(16, 24, 40)
    matrix, _ = linear_map(before, planes.rotate_about(before[0], axis, 25)[None])
    turned = rotation(axis, 25)
    assert torch.allclose(matrix, turned, atol=1e-4) or torch.allclose(matrix, turned.T, atol=1e-4)


@pytest.mark.parametrize("share, sign", [(1.0, 1), (0.0, -1)])
def test_elastic_turns_by_three_degrees(share, sign):
    before = places(60, 120)
    after, _ = STEPS["elastic"](before.clone(), no_labels(before), FixedDraws(1, share), rotation_deg=3.0)
    matrix, shift = linear_map(before, after)
    assert torch.allclose(matrix, rotation("k", 3 * sign)[:2, :2], atol=1e-4)
    assert shift.abs().max() < 1e-3


def test_elastic_displaces_control_points_by_its_sigma_in_pixels():
    """Four by four points: the second one of a side of 61 or 121 pixels is pixel 20 or 40."""
    before = places(61, 121).repeat(600, 1, 1, 1)
    after, _ = STEPS["elastic"](before.clone(), no_labels(before), Draws(0, 0, range(600)))
    offsets = (after - before)[:, :, 20, 40]
    assert offsets.std(dim=0).tolist() == pytest.approx([2.5, 2.5], rel=0.1)
    assert offsets.mean(dim=0).abs().max() < 0.4
    between = (after - before)[:, :, 10, 20]
    assert between.std() < 2.2, "smooth: less between the points"


@pytest.mark.parametrize("axis, dimension", [("i", 4), ("j", 3), ("k", 2)])
def test_flip_mirrors_the_named_axis(axis, dimension):
    images = torch.rand(1, 1, 3, 4, 5)
    labels = (images[:, 0] * 9).to(torch.uint8)
    flipped, moved = STEPS["flip"](images.clone(), labels.clone(), FixedDraws(1, 0), axes=[axis])
    assert torch.equal(flipped, images.flip(dimension))
    assert torch.equal(moved, labels.flip(dimension - 1))


@pytest.mark.parametrize("step", ["affine", "elastic", "slices"])
def test_the_border_continues_outside(step):
    """No value and no label comes in that was not there."""
    shape = (4, 1, 12, 16, 20) if step == "affine" else (4, 1, 32, 48)
    images, labels = torch.full(shape, 0.7), torch.full((4, *shape[2:]), 3, dtype=torch.uint8)
    changed, moved = STEPS[step](images.clone(), labels.clone(), Draws(2, 0, range(4)))
    assert torch.allclose(changed, images, atol=1e-6)
    assert (moved == 3).all()


def test_slices_without_background_get_none_where_labels_meet():
    j, i = torch.meshgrid(torch.arange(40), torch.arange(40), indexing="ij")
    labels = (1 + (i // 3 + j // 3) % 3).to(torch.uint8)[None].repeat(8, 1, 1)
    _, moved = STEPS["slices"](labels[:, None].float(), labels, Draws(0, 0, range(8)))
    assert (moved > 0).all()


def test_turned_labels_go_to_the_largest_map_where_labels_meet():
    j, i = torch.meshgrid(torch.arange(40), torch.arange(40), indexing="ij")
    labels = (1 + (i // 4 + j // 4) % 3).to(torch.uint8)
    turned = planes._turn_maps(labels, "k", 30.0)
    assert (turned[12:28, 12:28] > 0).all()
    assert turned[0, 0] == 0, "beyond the patch is background"


def test_flip_or_turn_takes_image_and_labels_to_the_same_place():
    labels = torch.zeros(40, 12, 12, 12, dtype=torch.uint8)
    labels[:, 2:7, 3:9, 4:8] = 1
    changed, moved = STEPS["flip_or_turn"](labels[:, None].float(), labels.clone(), Draws(1, 0, range(40)))
    assert torch.equal((changed[:, 0] > 0.5).to(torch.uint8), moved)


def test_what_comes_in_at_the_corners():
    images = torch.rand(1, 2, 8, 20, 20) + torch.tensor([3.0, -5.0]).view(1, 2, 1, 1, 1)

    def corner(step: str, **constants) -> list[float]:
        draws = FixedDraws(1, 0.99 if step == "plane_rotations" else 0.67)
        changed, _ = STEPS[step](images.clone(), no_labels(images), draws, **constants)
        return changed[0, :, 4, 0, 0].tolist()

    smallest = [float(channel.min()) for channel in images[0]]
    assert corner("plane_rotations") == pytest.approx([0, 0], abs=1e-4)
    assert corner("plane_rotations", outside=[0.0, "minimum"]) == pytest.approx([0, smallest[1]], abs=1e-4)
    assert corner("flip_or_turn", outside="minimum") == pytest.approx(smallest, abs=1e-4)
    for wrong in ([0.0], "largest"):
        with pytest.raises(InputError, match="each of the 2 channels"):
            corner("plane_rotations", outside=wrong)
