"""The reports' own augmentations: chances, angles, what is the same across a batch, labels stay labels."""

from __future__ import annotations

import pytest
import torch
from SegDLTrainingLib.augmentation.mixup import mixup
from SegDLTrainingLib.augmentation.planes import rotate_about
from SegDLTrainingLib.augmentation.registry import build_augmentation
from SegDLTrainingLib.draws import Draws


def _cube(count: int = 4, size: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.zeros(count, size, size, size, dtype=torch.uint8)
    labels[:, 2:6, 3:9, 4:8] = 1
    labels[:, 3:5, 4:7, 5:7] = 2
    return labels[:, None].float() * 10, labels


def _slices(count: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.zeros(count, 40, 60, dtype=torch.uint8)
    labels[:, 10:20, 15:35] = 1
    return labels[:, None].float() + 0.5, labels


def test_a_right_angle_is_exact_and_turns_about_the_named_axis():
    maps = torch.rand(2, 5, 6, 6)
    assert torch.allclose(rotate_about(maps, "k", 90), maps.rot90(1, (2, 3)), atol=1e-5)
    assert torch.allclose(rotate_about(maps, "k", 0), maps, atol=1e-6)
    cube = torch.rand(1, 6, 6, 6)
    for axis, plane in (("i", (1, 2)), ("j", (1, 3))):
        turned = rotate_about(cube, axis, 90)
        assert any(torch.allclose(turned, cube.rot90(times, plane), atol=1e-5) for times in (1, 3))


def test_a_rotation_by_0_degrees_changes_nothing():
    images, labels = _cube()
    augment = build_augmentation([{"step": "plane_rotations", "chance": 1.0, "largest_deg": 0}])
    turned, moved = augment(images.clone(), labels.clone(), Draws(1, 0, range(4)))
    assert torch.allclose(turned, images, atol=1e-5)
    assert torch.equal(moved, labels)


@pytest.mark.parametrize("step", ["plane_rotations", "mirroring", "flip_or_turn"])
def test_labels_stay_labels_and_follow_the_image(step):
    images, labels = _cube(16)
    turned, moved = build_augmentation([{"step": step}])(
        images.clone(), labels.clone(), Draws(3, 0, range(16))
    )
    assert set(moved.unique().tolist()) <= {0, 1, 2}
    assert not torch.equal(moved, labels)
    core = moved == 2
    assert (turned[:, 0][core] > 12).float().mean() > 0.8


def test_a_patch_is_mirrored_with_a_chance_of_three_eighths():
    images = torch.arange(8.0).view(1, 1, 2, 2, 2).repeat(5000, 1, 1, 1, 1)
    labels = torch.zeros(5000, 2, 2, 2, dtype=torch.uint8)
    mirrored, _ = build_augmentation([{"step": "mirroring"}])(
        images.clone(), labels, Draws(0, 0, range(5000))
    )
    share = (mirrored != images).flatten(1).any(dim=1).float().mean().item()
    assert share == pytest.approx(0.375, abs=0.02)


def test_the_policy_of_report_002_leaves_a_ninth_unchanged():
    images, labels = _cube(300, 6)
    images = images + torch.rand(6, 6, 6)
    changed, _ = build_augmentation([{"step": "flip_or_turn"}])(
        images.clone(), labels, Draws(0, 0, range(300))
    )
    same = torch.isclose(changed, images).flatten(1).all(dim=1).float().mean().item()
    assert same == pytest.approx(1 / 9, abs=0.05)


def test_elastic_displacements_are_small_and_smooth():
    images, labels = _slices(8)
    step = {"step": "elastic", "sigma": 2.0, "rotation_deg": 3.0}
    moved_images, moved = build_augmentation([step])(images.clone(), labels.clone(), Draws(0, 0, range(8)))
    assert set(moved.unique().tolist()) == {0, 1}
    overlap = 2 * ((moved == 1) & (labels == 1)).sum() / ((moved == 1).sum() + (labels == 1).sum())
    assert 0.6 < overlap < 0.99
    assert torch.isfinite(moved_images).all()


def test_gamma_of_z_scored_values_is_finite():
    images = torch.randn(4, 2, 20, 20)
    steps = [{"step": "gamma", "low": 0.8, "high": 1.25}, {"step": "noise", "variance": 0.05**2}]
    changed, _ = build_augmentation(steps)(
        images, torch.zeros(4, 20, 20, dtype=torch.uint8), Draws(0, 0, range(4))
    )
    assert torch.isfinite(changed).all()


def test_report_004_does_the_same_to_the_whole_batch():
    images, labels = _slices(6)
    steps = [{"step": "batch_patches", "chance": 1.0}, {"step": "batch_flip", "chance": 0.5}]
    for number in range(8):
        changed, moved = build_augmentation(steps)(images.clone(), labels.clone(), Draws(0, number, range(6)))
        assert all(torch.equal(changed[0], row) for row in changed)
        assert moved.sum() == labels.sum(), "labels are never masked"
        assert 0.01 < (changed[0] == 0).float().mean() < 0.21


def test_report_004_chances():
    images, labels = torch.ones(1, 1, 16, 16), torch.zeros(1, 16, 16, dtype=torch.uint8)
    patched = noisy = 0
    for number in range(800):
        draws = Draws(0, number, [0])
        patched += bool(
            (build_augmentation([{"step": "batch_patches"}])(images, labels, draws)[0] == 0).any()
        )
        draws = Draws(1, number, [0])
        noisy += bool((build_augmentation([{"step": "batch_noise"}])(images, labels, draws)[0] != 1).any())
    assert patched / 800 == pytest.approx(0.4, abs=0.05)
    assert noisy / 800 == pytest.approx(0.2, abs=0.05)


def test_mixup_of_equal_images_is_the_image_and_targets_stay_in_range():
    images, targets = torch.rand(4, 2, 8, 8), (torch.rand(4, 1, 8, 8) > 0.5).float()
    same_images, same_targets = mixup(
        images[:1].repeat(4, 1, 1, 1), targets[:1].repeat(4, 1, 1, 1), 0.4, 0, 0, range(4), 4
    )
    assert torch.allclose(same_images, images[:1].expand_as(images), atol=1e-6)
    assert torch.allclose(same_targets, targets[:1].expand_as(targets), atol=1e-6)
    mixed_images, mixed = mixup(images, targets, 0.4, 0, 0, range(4), 4)
    assert mixed.min() >= 0 and mixed.max() <= 1
    assert ((mixed > 0) & (mixed < 1)).any()
    again, _ = mixup(images, targets, 0.4, 0, 0, range(4), 4)
    assert torch.equal(mixed_images, again)
