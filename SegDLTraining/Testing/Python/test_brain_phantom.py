"""The generated brain: reproducible, plausible tissues and volumes, tumours where the labels say."""

import numpy as np
import pytest
from SegDLTrainingLib.synthesis.brain.case import make_case
from SegDLTrainingLib.synthesis.brain.contrast import MODALITIES
from SegDLTrainingLib.synthesis.brain.head import HeadSpace, sheet_distance
from SegDLTrainingLib.synthesis.brain.tumours import KINDS, plan_tumours

COARSE = {"spacing": [4.0, 4.0, 4.0], "tumour_free_share": 0.0}
SEEDS = range(40, 46)


@pytest.fixture(scope="module")
def cases():
    return [make_case(seed, COARSE) for seed in SEEDS]


def test_same_seed_same_voxels(cases):
    again = make_case(SEEDS[0], COARSE)
    for name in MODALITIES:
        assert np.array_equal(again.images[name].array, cases[0].images[name].array)
        assert not np.array_equal(again.images[name].array, cases[1].images[name].array)
    assert np.array_equal(again.labels.array, cases[0].labels.array)


def test_all_sequences_share_one_grid_and_one_stripped_skull(cases):
    case = cases[0]
    masks = [image.array > 0 for image in case.images.values()]
    assert list(case.images) == list(MODALITIES)
    assert all(image.grid.matches(case.grid) for image in case.images.values())
    assert case.grid.spacing == (4.0, 4.0, 4.0)
    for mask in masks[1:]:
        assert np.array_equal(mask, masks[0])
    for axis in range(3):
        assert not masks[0].take([0, -1], axis=axis).any()


def test_brains_have_the_volume_of_brains(cases):
    litres = [np.count_nonzero(case.images["T1"].array) * case.grid.voxel_ml / 1000 for case in cases]
    assert min(litres) > 0.9 and max(litres) < 2.3
    assert 1.2 < np.mean(litres) < 1.9


def test_fluid_is_bright_in_t2_and_dark_in_t1_and_flair(cases):
    for case in cases:
        t2 = case.images["T2"].array
        inside = (t2 > 0) & (case.labels.array == 0)
        fluid = inside & (t2 >= np.percentile(t2[inside], 97))
        for name in ("T1", "FLAIR"):
            values = case.images[name].array
            assert np.median(values[fluid]) < np.median(values[inside])


def test_tumours_show_as_in_patients(cases):
    """Oedema brighter than brain in FLAIR and than white matter in T2; uptake of contrast in T1c."""
    labels = np.concatenate([np.unique(case.labels.array) for case in cases])
    assert set(labels) == {0, 1, 2, 3, 4}
    uptake = []
    for case in cases:
        label, brain = case.labels.array, case.images["T1"].array > 0
        healthy = brain & (label == 0)
        values = {name: image.array.astype(float) for name, image in case.images.items()}
        assert not label[~brain].any()
        if np.count_nonzero(label == 2) > 20:
            assert np.median(values["FLAIR"][label == 2]) > np.median(values["FLAIR"][healthy])
            assert np.median(values["T2"][label == 2]) > np.percentile(values["T2"][healthy], 25)
        if np.count_nonzero(label == 4) > 20:
            t1, t1c = (np.median(values[name][label == 4]) / np.median(values[name][healthy])
                       for name in ("T1", "T1c"))  # fmt: skip
            uptake.append(t1c / t1)
    assert len(uptake) >= 3 and np.mean(uptake) > 1.2


def test_no_tumour_where_none_is_wanted():
    assert not make_case(3, {**COARSE, "tumour_free_share": 1.0}).labels.array.any()


def test_the_whole_tumour_can_be_one_label(cases):
    whole = make_case(SEEDS[0], {**COARSE, "whole_tumour": True})
    assert np.array_equal(whole.labels.array, cases[0].labels.array > 0)


def test_tumours_are_planned_in_all_kinds_and_sizes():
    plans = [plan_tumours(np.random.default_rng(seed), 0.25) for seed in range(400)]
    assert {tumour.kind for plan in plans for tumour in plan} == set(KINDS)
    free = sum(not plan for plan in plans) / len(plans)
    assert 0.18 < free < 0.32
    radii = [plan[0].radius for plan in plans if plan]
    assert min(radii) < 8 and max(radii) > 25


def test_a_push_moves_anatomy_outwards_and_leaves_the_surface(cases):
    space = HeadSpace(cases[0].grid, np.random.default_rng(0), 0.0, np.zeros(3))
    before = space.x.copy() + np.zeros(space.grid.shape, np.float32)
    depth = np.full(space.grid.shape, 30.0, np.float32)
    depth[:, :, :5] = 0
    space.push(np.array([0.0, 0.0, 0.0]), 15.0, 4.0, depth)
    at = space.voxels(np.array([[12.0, 0.0, 0.0]]))[0]
    still = np.asarray(space.grid.origin) + at * np.asarray(space.grid.spacing)
    assert 14.0 < still[0] < 17.0, "what was at 12 mm lies further out"
    assert np.array_equal(space.x[:, :, :5], before[:, :, :5])


def test_distance_to_a_zero_surface_is_in_millimetres():
    position = np.broadcast_to(2.0 * np.arange(20) - 15.0, (20, 20, 20)).astype(np.float32)
    distance = sheet_distance(0.2 * position, (2.0, 2.0, 2.0))
    assert np.allclose(distance, np.abs(position), atol=1e-4)
