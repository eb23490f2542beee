"""What samplers draw how often, and from where."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from SegDLTrainingLib.sampling_patches import PatchSampler
from SegDLTrainingLib.sampling_slices import SliceSampler
from SegDLTrainingLib.volumes import PreparedVolume

ANY_SLICE = {"size": [4, 4], "batch": 1500, "tumour_share": 0.0}


def levels(labels: np.ndarray) -> PreparedVolume:
    """Every slice shows its number."""
    image = np.zeros((1, *labels.shape), np.float16) + np.arange(len(labels))[:, None, None]
    return PreparedVolume(image.astype(np.float16), labels.astype(np.uint8), (1.0, 1.0, 1.0), "levels")


def test_the_neighbours_of_the_last_slices_are_the_last_slices():
    images, _ = SliceSampler([levels(np.zeros((5, 4, 4)))], [-1, 0, 2], ANY_SLICE, seed=0).batch(0)
    seen = {tuple(int(value) for value in row[:, 0, 0]) for row in images}
    one_way = {(max(k - 1, 0), k, min(k + 2, 4)) for k in range(5)}
    other_way = {(min(k + 1, 4), k, max(k - 2, 0)) for k in range(5)}
    assert seen == one_way | other_way


def test_neighbours_are_taken_at_six_tenths_to_three_halves_of_their_distance():
    """For half of the rows, as asked for, and alike for all neighbours of a slice."""
    settings = {**ANY_SLICE, "slice_zoom": 0.5}
    images, _ = SliceSampler([levels(np.zeros((400, 4, 4)))], [0, 20], settings, seed=0).batch(0)
    middle, neighbour = images[:, 0, 0, 0], images[:, 1, 0, 0]
    inner = (middle >= 30) & (middle < 370)
    distances = (neighbour - middle).abs()[inner]
    assert distances.min() == 12
    assert distances.max() == 30
    assert (distances == 20).float().mean() == pytest.approx(0.5 + 0.5 / 18, abs=0.05)


def test_tumours_are_drawn_equally_often_however_many_slices_they_have():
    """Voxels that touch at a corner are one tumour."""
    labels = np.zeros((12, 16, 16))
    labels[0, 0, 15] = 1
    for k in range(2, 12):
        labels[k, k, k] = 1
    images, _ = SliceSampler([levels(labels)], [0], {**ANY_SLICE, "tumour_share": 1.0}, seed=0).batch(0)
    drawn = Counter(images[:, 0, 0, 0].int().tolist())
    assert drawn[0] / 1500 == pytest.approx(0.5, abs=0.05)
    assert all(drawn[k] / 1500 == pytest.approx(0.05, abs=0.03) for k in range(2, 12))


@pytest.mark.parametrize("tumour, negative, expected", [(0.3, 0.7, 0.3), (0.2, 0.0, 0.2 + 0.8 / 10)])
def test_shares_of_slices_with_tumour(tumour, negative, expected):
    """What is neither share is any slice, one in ten of which has tumour here."""
    labels = np.zeros((10, 4, 4))
    labels[3] = 1
    settings = {**ANY_SLICE, "tumour_share": tumour, "negative_share": negative}
    _, drawn = SliceSampler([levels(labels)], [0], settings, seed=0).batch(0)
    assert drawn.flatten(1).any(dim=1).float().mean() == pytest.approx(expected, abs=0.035)


def patches(volumes, settings, labels=(1,)) -> PatchSampler:
    counts = np.stack([np.bincount(np.asarray(v.labels).ravel(), minlength=3) for v in volumes])
    return PatchSampler(volumes, labels, counts, settings, seed=0)


def test_half_of_the_patches_lie_round_a_label_by_default():
    labels = np.zeros((40, 40, 40))
    labels[20, 20, 20] = 1
    _, drawn = patches([levels(labels)], {"patch": [4, 4, 4], "batch": 1000}).batch(0)
    assert drawn.flatten(1).any(dim=1).float().mean() == pytest.approx(0.5, abs=0.05)


def test_a_drawn_voxel_lies_anywhere_in_the_middle_half_of_its_patch():
    labels = np.zeros((60, 60, 60))
    labels[30, 30, 30] = 1
    settings = {"patch": [16, 16, 8], "batch": 600, "foreground_share": 1.0}
    _, drawn = patches([levels(labels)], settings).batch(0)
    where = np.argwhere(drawn.numpy())
    assert len(where) == 600, "every patch has the voxel"
    assert where[:, 1:].min(axis=0).tolist() == [2, 4, 4]
    assert where[:, 1:].max(axis=0).tolist() == [6, 12, 12]


def test_a_volume_smaller_than_the_patch_lies_anywhere_in_it():
    labels = np.ones((3, 5, 6))
    _, drawn = patches([levels(labels)], {"patch": [8, 8, 4], "batch": 300}).batch(0)
    assert (drawn.flatten(1).sum(dim=1) == labels.size).all()
    first = {tuple(np.argwhere(row.numpy())[0]) for row in drawn}
    assert first == {(k, j, i) for k in range(2) for j in range(4) for i in range(3)}


def test_cases_with_a_label_are_drawn_equally_often_and_without_labels_all_are():
    small, large, empty = np.zeros((8, 8, 8)), np.zeros((30, 30, 30)), np.zeros((8, 8, 8))
    small[4, 4, 4], large[2:28, 2:28, 2:28] = 1, 1
    volumes = [
        PreparedVolume(np.zeros((1, *labels.shape), np.float16), labels.astype(np.uint8), (1.0,) * 3, name)
        for name, labels in (("small", small), ("large", large), ("empty", empty))
    ]
    settings = {"patch": [4, 4, 4], "batch": 900}
    found = Counter(patches(volumes, {**settings, "foreground_share": 1.0}).names(0))
    assert set(found) == {"small", "large"}
    assert found["small"] / 900 == pytest.approx(0.5, abs=0.05)
    anywhere = Counter(patches(volumes, {**settings, "foreground_share": 0.0}).names(0))
    assert all(anywhere[name] / 900 == pytest.approx(1 / 3, abs=0.05) for name in ("small", "large", "empty"))
