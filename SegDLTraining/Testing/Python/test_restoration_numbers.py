"""How often and how strongly cubes are distorted: the numbers that report 003 takes from Models Genesis."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from SegDLTrainingLib.restoration import distortions
from SegDLTrainingLib.restoration.distortions import Distortion, paint_inside, paint_outside, shuffle_locally

CUBE = np.arange(8, dtype=np.float32).reshape(2, 2, 2) / 8


def test_chances_of_the_distortions(monkeypatch):
    """Shuffling 0.5 with 10,000 blocks, intensity 0.9, painting 0.9, a fifth of it inside; in this order."""
    order: list[str] = []

    def watched(name: str):
        def change(cube, rng, *constants):
            order.append(name)
            if name == "shuffle_locally":
                assert constants == (10000,)
            if name.startswith("paint"):
                assert constants == (0.95,)
            return cube

        return change

    names = ("shuffle_locally", "change_intensity", "paint_inside", "paint_outside")
    for name in names:
        monkeypatch.setattr(distortions, name, watched(name))
    rng, done = np.random.default_rng(0), Counter()
    for _ in range(4000):
        order.clear()
        Distortion()(CUBE, rng)
        assert order == sorted(order, key=names.index)
        done.update(order)
    shares = [done[name] / 4000 for name in names]
    assert shares == pytest.approx([0.5, 0.9, 0.18, 0.72], abs=0.03)


def test_a_cube_is_flipped_up_to_three_times_with_a_chance_of_0_4_each():
    """Three flips of random axes; two along the same one leave the cube as it was."""
    rng, same = np.random.default_rng(0), 0
    for _ in range(4000):
        same += np.array_equal(Distortion().flipped(CUBE, rng), CUBE)
    assert same / 4000 == pytest.approx(0.6 + 0.4 * 0.4 * 0.6 / 3, abs=0.02)


@pytest.mark.parametrize(("paint", "least"), [(paint_inside, 0), (paint_outside, 1)])
def test_up_to_five_blocks_are_painted_each_by_chance_0_95(paint, least, monkeypatch):
    """But for the first block of what is painted outside, which is always there."""
    counts: Counter[int] = Counter()
    find_blocks = distortions._blocks

    def counted(*arguments, **options):
        blocks = find_blocks(*arguments, **options)
        counts[len(blocks)] += 1
        return blocks

    monkeypatch.setattr(distortions, "_blocks", counted)
    for seed in range(2000):
        paint(CUBE, np.random.default_rng(seed))
    assert set(counts) == set(range(least, 6))
    assert counts[5] / 2000 == pytest.approx(0.95 ** (5 - least), abs=0.03)
    assert counts[least] / 2000 == pytest.approx(0.05, abs=0.02)


def test_shuffled_blocks_reach_a_tenth_of_the_sides():
    """The farthest that a voxel moves in a cube of 40 is 3 voxels, within a block of 4."""
    ramp = np.broadcast_to(np.arange(40, dtype=np.float32), (40, 40, 40)).copy()
    moved = np.abs(shuffle_locally(ramp, np.random.default_rng(0), 4000) - ramp)
    assert moved.max() == 3
