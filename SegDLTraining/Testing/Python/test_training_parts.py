"""Samplers and recipes: the right voxels at the right place, reproducibly; recipes that extend others."""

import json

import numpy as np
import pytest
import torch
from SegDLEngine.errors import InputError
from SegDLTrainingLib.recipes import load_recipe
from SegDLTrainingLib.sampling import build_sampler
from SegDLTrainingLib.sampling_slices import SliceSampler
from SegDLTrainingLib.volumes import PreparedVolume


def volume(shape: tuple[int, int, int], tumour_slices: range) -> PreparedVolume:
    image = np.zeros(shape, np.float16) + np.arange(1, shape[0] + 1)[:, None, None] / 100
    labels = np.zeros(shape, np.uint8)
    labels[tumour_slices.start : tumour_slices.stop, 4:8, 4:8] = 1
    return PreparedVolume(image.astype(np.float16)[None], labels, (2.0, 2.0, 3.0), "case")


def test_sampler_gives_the_slice_with_its_neighbours():
    sampler = SliceSampler(
        [volume((9, 16, 16), range(4, 5))],
        [-2, 0, 2],
        {"size": [16, 16], "batch": 4, "tumour_share": 1.0},
        seed=1,
    )
    images, masks = sampler.batch(0)
    assert images.shape == (4, 3, 16, 16) and masks.shape == (4, 16, 16)
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


def test_negative_slices_are_drawn_with_their_share():
    settings = {"size": [16, 16], "batch": 400, "tumour_share": 0.5, "negative_share": 0.5}
    _, masks = SliceSampler([volume((9, 16, 16), range(1, 8))], [0], settings, seed=1).batch(0)
    assert 0.4 < (masks.sum(dim=(1, 2)) > 0).float().mean() < 0.6
    _, masks = SliceSampler(
        [volume((9, 16, 16), range(1, 8))], [0], {**settings, "negative_share": 0.0}, 1
    ).batch(0)
    assert (masks.sum(dim=(1, 2)) > 0).float().mean() > 0.8


def labelled(shape=(12, 14, 16)) -> PreparedVolume:
    """Two channels that hold each voxel's place; a large label 1 and a single voxel of label 4."""
    place = np.arange(np.prod(shape)).reshape(shape) % 1000
    labels = np.zeros(shape, np.uint8)
    labels[2:9, 2:9, 2:9] = 1
    labels[10, 11, 12] = 4
    image = np.stack([place, -place]).astype(np.float16)
    return PreparedVolume(image, labels, (1.0, 1.0, 1.0), "labelled")


CARD = {"labels": [{"value": 1}, {"value": 4}], "inference": {"context": [0]}}
PATCHES = {"mode": "patches", "patch": [6, 5, 4], "batch": 64, "foreground_share": 1.0}


def test_patches_show_rare_labels_as_often_as_frequent_ones_and_lie_inside():
    images, labels = build_sampler([labelled()], CARD, PATCHES, seed=1).batch(0)
    assert images.shape == (64, 2, 4, 5, 6) and labels.shape == (64, 4, 5, 6)
    assert 0.3 < (labels == 4).any(dim=(1, 2, 3)).float().mean() < 0.7
    step = images[:, 0, 1] - images[:, 0, 0]
    assert set(step.unique().tolist()) <= {224, 224 - 1000}, "neighbouring slices follow each other"
    assert torch.equal(images[:, 0], -images[:, 1])


def test_centred_patches_have_the_drawn_class_in_the_middle_even_at_the_border():
    settings = {**PATCHES, "patch": [9, 9], "centred": True, "labels": [0, 1, 4]}
    images, labels = build_sampler([labelled()], CARD, settings, seed=1).batch(0)
    assert images.shape == (64, 2, 9, 9)
    middle = labels[:, 4, 4]
    assert all(10 < int((middle == value).sum()) < 34 for value in (0, 1, 4))


def test_patches_larger_than_the_volume_are_padded_with_zeros():
    settings = {**PATCHES, "patch": [20, 20, 20], "batch": 2}
    images, labels = build_sampler([labelled()], CARD, settings, seed=1).batch(0)
    assert (labels == 1).sum(dim=(1, 2, 3)).tolist() == [343, 343]
    assert (images[:, 0] > 0).sum(dim=(1, 2, 3)).tolist() == [12 * 14 * 16 - 3] * 2


@pytest.mark.parametrize("settings", [PATCHES, {"size": [16, 16], "batch": 64, "tumour_share": 0.5}])
def test_rows_of_a_batch_can_be_drawn_apart(settings):
    sampler = build_sampler([labelled()] * 2, CARD, settings, seed=3)
    whole, again = sampler.batch(9), sampler.batch(9, [5, 40])
    assert torch.equal(again[0], whole[0][[5, 40]]) and torch.equal(again[1], whole[1][[5, 40]])
    assert not torch.equal(sampler.batch(10)[0], whole[0])


def test_a_label_that_the_card_does_not_have_is_named():
    card = {**CARD, "labels": [{"value": 1}]}
    with pytest.raises(InputError, match=r"'labelled' has the label 4.*card's labels: 1"):
        build_sampler([labelled()], card, PATCHES, seed=1)


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
