"""Augmentation: images and labels move together, labels stay labels, rows do not depend on each other."""

import pytest
import torch
from SegDLEngine.errors import InputError
from SegDLTrainingLib.augmentation.registry import build_augmentation, known_augmentations
from SegDLTrainingLib.augmentation.slices import SliceAugmentation, sample
from SegDLTrainingLib.draws import Draws


def draws(count: int, seed: int = 7) -> Draws:
    return Draws(seed, 0, range(count))


def blobs(count: int = 6) -> torch.Tensor:
    """Labels 0, 1 and 2."""
    labels = torch.zeros(count, 48, 64, dtype=torch.uint8)
    for number in range(count):
        labels[number, 10 + number : 26 + number, 20 + 2 * number : 40 + 2 * number] = 1
        labels[number, 14 + number : 20 + number, 24 + 2 * number : 32 + 2 * number] = 2
    return labels


def test_slices_and_labels_move_together():
    labels = (blobs() > 0).to(torch.uint8)
    images, moved = SliceAugmentation()(labels[:, None].float(), labels, draws(6))
    assert torch.equal((images[:, 0] >= 0.5).to(torch.uint8), moved)
    assert not torch.equal(moved, labels)


def test_augmented_labels_stay_labels_and_keep_their_size_within_the_zoom():
    labels = blobs()
    _, moved = SliceAugmentation(shift=0.0, mirror=0.0)(labels[:, None].float(), labels, draws(6))
    assert set(moved.unique().tolist()) <= {0, 1, 2}
    for value in (1, 2):
        ratio = (moved == value).sum(dim=(1, 2)) / (labels == value).sum(dim=(1, 2))
        assert (ratio > 0.7).all() and (ratio < 1.35).all()


def test_rotation_keeps_areas_and_shapes_on_a_slice_that_is_not_square():
    masks = torch.zeros(16, 1, 60, 120)
    masks[:, :, 20:40, 50:70] = 1
    augment = SliceAugmentation(shift=0.0, zoom=0.0, rotation_deg=40.0, mirror=0.0)
    turned = sample(masks, augment.sampling_grid(masks.shape, draws(16)))
    assert torch.allclose(turned.sum(dim=(1, 2, 3)), masks.sum(dim=(1, 2, 3)), rtol=0.02)
    rows, columns = turned[:, 0].amax(dim=2).sum(dim=1), turned[:, 0].amax(dim=1).sum(dim=1)
    assert torch.allclose(rows, columns, atol=2.5), "a turned square stays as wide as high"


def test_mirror_swaps_left_and_right_exactly():
    images = blobs()[:, None].float()
    augment = SliceAugmentation(shift=0.0, zoom=0.0, rotation_deg=0.0, mirror=1.0)
    flipped = sample(images, augment.sampling_grid(images.shape, draws(6)))
    assert torch.allclose(flipped, images.flip(-1), atol=1e-5)


def test_same_seed_same_augmentation_and_air_stays_air():
    labels = blobs()
    images = torch.rand(6, 3, 48, 64) * (labels > 0)[:, None]
    augment = SliceAugmentation(gain=0.2, offset=0.1, noise=0.1, smooth=0.5, window=0.5)
    first, second = augment(images, labels, draws(6)), augment(images, labels, draws(6))
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    moved = sample(images, augment.sampling_grid(images.shape, draws(6)))
    assert (first[0][moved <= 0] == 0).all()
    assert first[0].min() >= 0 and first[0].max() <= 1


ALL_3D = [
    {"step": "flip"},
    {"step": "affine", "rotation_deg": [5, 5, 20], "zoom": 0.1},
    {"step": "gamma"},
    {"step": "gain", "factor": 0.1, "offset": 0.1},
    {"step": "noise", "variance": 0.01, "channels": [1]},
    {"step": "drop_channels", "chance": 0.5, "keep": []},
]


def patches(count: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count, 2, 10, 12, 14, generator=generator)
    return images, (images[:, 0] > 0.8).to(torch.uint8) * 3


@pytest.mark.parametrize("entry", [{}, *ALL_3D], ids=lambda entry: entry.get("step", "none"))
def test_a_part_of_a_batch_equals_those_rows_of_the_whole(entry):
    augment = build_augmentation([entry] if entry else [])
    whole = augment(*patches(), Draws(3, 5, range(4)))
    images, labels = patches()
    part = augment(images[2:].clone(), labels[2:].clone(), Draws(3, 5, [2, 3]))
    assert torch.equal(part[0], whole[0][2:]) and torch.equal(part[1], whole[1][2:])


def test_geometry_in_3d_moves_labels_with_the_image():
    labels = torch.zeros(3, 16, 16, 16, dtype=torch.uint8)
    labels[:, 4:12, 5:11, 3:9] = 5
    augment = build_augmentation(ALL_3D[:2])
    images, moved = augment((labels[:, None] / 5).float(), labels.clone(), draws(3))
    assert set(moved.unique().tolist()) == {0, 5}
    agree = ((images[:, 0] >= 0.5) == (moved > 0)).float().mean()
    assert agree > 0.98 and not torch.equal(moved, labels)


def test_rotation_in_3d_by_hand():
    """90 degrees about k moves the voxel at +i to the place at -j or +j of the centre."""
    images = torch.zeros(1, 1, 3, 9, 9)
    images[0, 0, 1, 4, 7] = 1
    labels = images[:, 0].to(torch.uint8)
    affine = known_augmentations()["affine"]

    class RightAngle(Draws):
        def uniform(self, low, high, *shape):
            return torch.full((len(self), *shape), high)

    turned, moved = affine(
        images.clone(), labels.clone(), RightAngle(0, 0, [0]), [0, 0, 90.0], 0.0, chance=2.0
    )
    where = torch.nonzero(turned[0, 0] > 0.9).tolist()
    assert where in ([[1, 7, 4]], [[1, 1, 4]])
    assert torch.nonzero(moved[0]).tolist() == where


def test_gamma_is_finite_on_negative_values_and_keeps_the_range():
    images, labels = patches()
    changed, same = build_augmentation([{"step": "gamma", "low": 0.5, "high": 2}])(
        images.clone(), labels, draws(4)
    )
    assert torch.isfinite(changed).all() and torch.equal(same, labels)
    axes = (2, 3, 4)
    assert torch.allclose(changed.amin(axes), images.amin(axes), atol=1e-5)
    assert torch.allclose(changed.amax(axes), images.amax(axes), atol=1e-4)


def test_noise_has_the_variance_that_was_drawn():
    zeros = torch.zeros(64, 1, 40, 40)
    noisy, _ = build_augmentation([{"step": "noise", "variance": 0.1}])(zeros, zeros[:, 0], draws(64))
    variances = noisy.var(dim=(1, 2, 3))
    assert variances.max() < 0.11 and 0.035 < variances.mean() < 0.065


def test_dropped_channels_are_zero_and_kept_ones_stay():
    images, labels = torch.ones(300, 3, 2, 2), torch.zeros(300, 2, 2, dtype=torch.uint8)
    changed, _ = build_augmentation([{"step": "drop_channels", "chance": 0.3, "keep": [1]}])(
        images, labels, draws(300)
    )
    assert (changed[:, 1] == 1).all()
    assert 0.2 < (changed[:, 0] == 0).all(dim=(1, 2)).float().mean() < 0.4
    assert set(changed.unique().tolist()) == {0.0, 1.0}


def test_unknown_steps_and_constants_are_named():
    with pytest.raises(InputError, match="'wobble' is unknown"):
        build_augmentation([{"step": "wobble"}])
    with pytest.raises(InputError, match=r"'noise'.*sigma"):
        build_augmentation([{"step": "noise", "sigma": 1}])


def test_steps_for_other_dimensions_and_axes_that_are_not_there_are_named():
    for step, dimensions in (("affine", 2), ("elastic", 3), ("slices", 3)):
        with pytest.raises(InputError, match=f"'{step}' is not for images of {dimensions} dimensions"):
            build_augmentation([{"step": step}], dimensions)
    images, labels = torch.rand(40, 2, 4, 5), torch.zeros(40, 4, 5, dtype=torch.uint8)
    for axes in (["k"], ["x"]):
        with pytest.raises(InputError, match=f"no axis '{axes[0]}'"):
            build_augmentation([{"step": "flip", "axes": axes}], 2)(images, labels, draws(40))
    flipped, _ = build_augmentation([{"step": "flip"}], 2)(images.clone(), labels, draws(40))
    for row, before in zip(flipped, images, strict=True):
        assert any(torch.equal(row, before.flip(axes)) for axes in ([], [-1], [-2], [-1, -2]))
