"""Augmentation, losses, schedules, sampling and recipes against numbers worked out by hand."""

import json
import math

import numpy as np
import pytest
import torch
from SegDLEngine.errors import InputError
from SegDLTrainingLib.augmentation import Augmentation
from SegDLTrainingLib.losses import PrivilegedDice, dice_cross_entropy, soft_dice
from SegDLTrainingLib.phantom_cases import PreparedVolume
from SegDLTrainingLib.recipes import list_recipes, load_recipe
from SegDLTrainingLib.sampling import SliceSampler
from SegDLTrainingLib.schedules import build_schedule


def blobs(count: int = 6) -> torch.Tensor:
    masks = torch.zeros(count, 1, 48, 64)
    for number in range(count):
        masks[number, 0, 10 + number : 26 + number, 20 + 2 * number : 40 + 2 * number] = 1
    return masks


def test_image_and_mask_move_together():
    masks = blobs()
    images, moved = Augmentation()(masks.clone(), masks, seed=42)
    assert torch.equal((images >= 0.5).float(), moved)
    assert not torch.equal(moved, masks)


def test_augmented_mask_stays_binary_and_keeps_its_size_within_the_zoom():
    masks = blobs()
    _, moved = Augmentation(shift=0.0, mirror=0.0)(masks.clone(), masks, seed=7)
    assert set(moved.unique().tolist()) <= {0.0, 1.0}
    ratio = moved.sum(dim=(1, 2, 3)) / masks.sum(dim=(1, 2, 3))
    assert (ratio > 0.75).all() and (ratio < 1.3).all()


def test_rotation_keeps_areas_and_shapes_on_a_slice_that_is_not_square():
    masks = torch.zeros(16, 1, 60, 120)
    masks[:, :, 20:40, 50:70] = 1
    turned = Augmentation(shift=0.0, zoom=0.0, rotation_deg=40.0, mirror=0.0).geometry(
        masks, torch.Generator().manual_seed(0)
    )
    assert torch.allclose(turned.sum(dim=(1, 2, 3)), masks.sum(dim=(1, 2, 3)), rtol=0.02)
    rows, columns = turned[:, 0].amax(dim=2).sum(dim=1), turned[:, 0].amax(dim=1).sum(dim=1)
    assert torch.allclose(rows, columns, atol=2.5), "a turned square stays as wide as high"


def test_mirror_swaps_left_and_right_exactly():
    masks = blobs()
    flipped = Augmentation(shift=0.0, zoom=0.0, rotation_deg=0.0, mirror=1.0).geometry(
        masks, torch.Generator().manual_seed(0)
    )
    assert torch.allclose(flipped, masks.flip(-1), atol=1e-5)


def test_same_seed_same_augmentation_and_air_stays_air():
    masks = blobs()
    images = torch.rand(6, 3, 48, 64) * masks
    augment = Augmentation(gain=0.2, offset=0.1, noise=0.1, smooth=0.5, window=0.5)
    first, second = augment(images, masks, seed=3), augment(images, masks, seed=3)
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    moved = augment.geometry(images, torch.Generator().manual_seed(6))
    assert (first[0][moved <= 0] == 0).all()
    assert first[0].min() >= 0 and first[0].max() <= 1


def test_soft_dice_by_hand():
    probability = torch.tensor([[0.5, 1.0, 0.0, 0.25]])
    target = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    assert float(soft_dice(probability, target)) == pytest.approx((2 * 1.5 + 1) / (1.75 + 2 + 1))


def test_per_slice_dice_lets_small_and_empty_slices_count():
    probability = torch.tensor([[[1.0, 1.0, 1.0, 1.0]], [[0.0, 0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0, 1.0]]])
    target = torch.tensor([[[1.0, 1.0, 1.0, 1.0]], [[0.0, 0.0, 1.0, 0.0]], [[0.0, 0.0, 0.0, 0.0]]])
    assert float(soft_dice(probability, target, per_slice=True)) == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert float(soft_dice(probability, target)) == pytest.approx((2 * 4 + 1) / (5 + 5 + 1))


def test_loss_by_hand_and_its_weights_over_the_epochs():
    logits, target = torch.zeros(1, 1, 2, 2), torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    dice = (2 * 0.5 + 1) / (2 + 1 + 1)
    entropy = math.log(2)
    loss = PrivilegedDice()
    assert float(loss(logits, target, 0)) == pytest.approx(0.75 * (1 - dice) + 0.25 * entropy)
    assert float(loss(logits, target, 49)) == pytest.approx(0.75 * (1 - dice) + 0.25 * entropy)
    assert float(loss(logits, target, 50)) == pytest.approx(0.5 * (1 - dice) + 0.5 * entropy)


def test_empty_slices_have_a_finite_loss_whose_gradient_lowers_the_prediction():
    logits = torch.full((2, 1, 8, 8), 1.5, requires_grad=True)
    loss = dice_cross_entropy(logits, torch.zeros(2, 1, 8, 8), 0.0, 1.0)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.allclose(logits.grad, torch.sigmoid(torch.tensor(1.5)) / 128)
    certain = dice_cross_entropy(torch.full((1, 1, 4, 4), -60.0), torch.zeros(1, 1, 4, 4), 0.75, 0.25)
    assert float(certain) == pytest.approx(0.0, abs=1e-6)


def test_learning_rate_of_the_report():
    rate = build_schedule({"name": "exponential"})
    for epoch in (0, 1, 5, 9):
        assert rate(epoch) == pytest.approx(1e-3 * 0.8**epoch)
    assert rate(3.9) == rate(3)


def test_warm_cosine_rises_to_its_start_and_falls_to_its_end():
    rate = build_schedule({"name": "warm_cosine", "start": 2e-3, "epochs": 10, "warm_up": 2, "end": 1e-5})
    assert rate(0) < 1e-5 and rate(1) == pytest.approx(1e-3, rel=1e-2)
    assert rate(2) == pytest.approx(2e-3) and rate(6) == pytest.approx((2e-3 + 1e-5) / 2)
    assert rate(10) == pytest.approx(1e-5)
    with pytest.raises(InputError, match="unknown"):
        build_schedule({"name": "nonsense"})


def volume(shape: tuple[int, int, int], tumour_slices: range) -> PreparedVolume:
    image = np.zeros(shape, np.float16) + np.arange(1, shape[0] + 1)[:, None, None] / 100
    mask = np.zeros(shape, np.uint8)
    mask[tumour_slices.start : tumour_slices.stop, 4:8, 4:8] = 1
    return PreparedVolume(image.astype(np.float16), mask, 0.012)


def test_sampler_gives_the_slice_with_its_neighbours():
    sampler = SliceSampler(
        [volume((9, 16, 16), range(4, 5))],
        [-2, 0, 2],
        {"size": [16, 16], "batch": 4, "tumour_share": 1.0},
        seed=1,
    )
    images, masks = sampler.batch(0)
    assert images.shape == (4, 3, 16, 16) and masks.shape == (4, 1, 16, 16)
    for image, mask in zip(images, masks, strict=True):
        assert mask.sum() == 16
        assert sorted(round(float(channel[0, 0]) * 100) for channel in image) == [3, 5, 7]
        assert round(float(image[1, 0, 0]) * 100) == 5


def test_sampler_is_reproducible_and_fits_larger_and_smaller_slices_into_its_frame():
    volumes = [volume((5, 12, 40), range(1, 4)), volume((5, 40, 12), range(1, 4))]
    settings = {"size": [24, 16], "batch": 8, "tumour_share": 0.5, "slice_zoom": 0.5}
    first = SliceSampler(volumes, [-1, 0, 1], settings, seed=5).batch(3)
    second = SliceSampler(volumes, [-1, 0, 1], settings, seed=5).batch(3)
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    assert first[0].shape == (8, 3, 16, 24)


def test_shipped_recipes_are_valid_and_found_by_name():
    recipes = list_recipes()
    assert recipes
    for recipe in recipes:
        assert load_recipe(recipe["id"])["seed"] == recipe.seed
        Augmentation(**recipe["augmentation"])
        PrivilegedDice(**recipe["loss"])
        build_schedule(recipe["schedule"])
        channels = recipe.card["network"]["options"]["in_channels"]
        assert channels == len(recipe.card["inference"]["context"])


def test_a_recipe_that_extends_another_changes_only_what_it_names(tmp_path):
    base = load_recipe("lung-tumor-unet2d")
    path = tmp_path / "longer.json"
    changes = {"schema": "segdl-recipe-1", "extends": base["id"], "id": "longer", "training": {"epochs": 7}}
    path.write_text(json.dumps(changes), encoding="utf-8")
    longer = load_recipe(path)
    assert longer["training"] == {**base["training"], "epochs": 7}
    assert longer["id"] == "longer" and longer.card == base.card


def test_a_broken_recipe_is_named(tmp_path):
    path = tmp_path / "broken.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"broken\.json"):
        load_recipe(path)
    path.write_text('{"schema": "segdl-recipe-1"}', encoding="utf-8")
    with pytest.raises(InputError, match="'id'"):
        load_recipe(path)
    with pytest.raises(InputError, match="no recipe 'nothing'"):
        load_recipe("nothing")
