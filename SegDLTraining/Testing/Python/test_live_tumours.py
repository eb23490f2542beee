"""Tumours drawn into prepared volumes while training: where they lie, what they change, reproducibly."""

import numpy as np
import pytest
from SegDLTrainingLib.live_tumours import LiveTumours
from SegDLTrainingLib.recipes import load_recipe
from SegDLTrainingLib.sampling_slices import SliceSampler
from SegDLTrainingLib.volumes import PreparedVolume

STEPS = load_recipe("lung-tumor-unet2d").card["preprocessing"]
LUNG, WALL = 5 / 45, 42 / 45


@pytest.fixture(scope="module")
def volume() -> PreparedVolume:
    """Air round a wall of soft tissue round aerated lung."""
    image = np.zeros((24, 48, 48), np.float16)
    image[:, 4:44, 4:44] = WALL
    image[:, 8:40, 8:40] = LUNG
    return PreparedVolume(image[None], np.zeros(image.shape, np.uint8), (2.0, 2.0, 3.0))


def insertions(volume: PreparedVolume, count: int = 12):
    live = LiveTumours(STEPS, (14, 30))
    found = (live.insert(volume, np.random.default_rng(seed)) for seed in range(count))
    return [insertion for insertion in found if insertion is not None]


def test_tumour_lies_in_the_lung_and_the_volume_stays_unchanged(volume):
    before = volume.image.copy()
    lungs = volume.image[0] == np.float16(LUNG)
    placed = insertions(volume)
    assert len(placed) >= 8
    for insertion in placed:
        assert insertion.mask.any()
        assert lungs[insertion.box][insertion.mask > 0].mean() > 0.5
        assert not insertion.mask[volume.image[0][insertion.box] == 0].any()
    assert np.array_equal(volume.image, before)


def test_only_the_tumour_and_its_border_change(volume):
    for insertion in insertions(volume):
        original = volume.image[0][insertion.box].astype(np.float32)
        changed = np.abs(insertion.image - original) > 1.5 / 45
        assert changed.any()
        far = np.ones_like(changed)
        where = np.argwhere(insertion.mask)
        low, high = np.maximum(where.min(axis=0) - (2, 3, 3), 0), np.add(where.max(axis=0), (3, 4, 4))
        far[low[0] : high[0], low[1] : high[1], low[2] : high[2]] = False
        assert not changed[far].any()


def test_same_seed_same_tumour(volume):
    first, second = insertions(volume, 4), insertions(volume, 4)
    for one, other in zip(first, second, strict=True):
        assert one.box == other.box and np.array_equal(one.image, other.image)


def test_no_lung_no_tumour():
    image = np.full((8, 16, 16), WALL, np.float16)
    empty = PreparedVolume(image[None], np.zeros(image.shape, np.uint8), (2.0, 2.0, 3.0))
    assert LiveTumours(STEPS, (10, 20)).insert(empty, np.random.default_rng(0)) is None


def test_sampler_shows_the_live_tumour_in_image_and_mask(volume):
    settings = {"size": [48, 48], "batch": 6, "tumour_share": 0.0, "live_share": 1.0}
    sampler = SliceSampler([volume], [0], settings, 3, LiveTumours(STEPS, (16, 30)))
    images, masks = sampler.batch(0)
    shown = masks.sum(dim=(1, 2)) > 0
    assert shown.sum() >= 4
    inside = images[:, 0][masks > 0]
    assert float(inside.mean()) > 2 * LUNG
    again = SliceSampler([volume], [0], settings, 3, LiveTumours(STEPS, (16, 30))).batch(0)
    assert np.array_equal(again[0], images) and np.array_equal(again[1], masks)
