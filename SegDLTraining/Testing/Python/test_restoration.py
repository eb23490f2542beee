"""The restoration task of Models Genesis: ranges, exclusive painting, seeds, and that it can be learnt."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from SegDLEngine.networks.registry import build_network
from SegDLTrainingLib.restoration.cubes import RestorationBatches
from SegDLTrainingLib.restoration.distortions import (
    Distortion,
    change_intensity,
    paint_inside,
    paint_outside,
    shuffle_locally,
)


def _cube(seed=0, shape=(16, 32, 32)):
    k, j, i = np.indices(shape) / np.array(shape).reshape(3, 1, 1, 1)
    noise = np.random.default_rng(seed).normal(0, 0.02, shape)
    return np.clip(0.2 + 0.5 * np.sin(3 * i) * np.cos(2 * j) * (0.4 + k) + noise, 0, 1).astype(np.float32)


def test_all_distortions_stay_within_0_and_1():
    always = Distortion(1, 1, 1, 1, 0.5, blocks=200)
    for seed in range(20):
        distorted = always(_cube(seed), np.random.default_rng(seed))
        assert distorted.dtype == np.float32
        assert distorted.min() >= 0
        assert distorted.max() <= 1


def test_shuffling_is_local():
    ramp = np.broadcast_to(np.arange(40, dtype=np.float32) / 40, (40, 40, 40)).copy()
    shuffled = shuffle_locally(ramp, np.random.default_rng(1), 3000)
    assert not np.array_equal(shuffled, ramp)
    assert np.abs(shuffled - ramp).max() < 4 / 40
    assert shuffled.mean() == pytest.approx(ramp.mean(), abs=2e-3)


def test_intensity_is_monotone_upwards_or_downwards():
    ramp = np.linspace(0, 1, 500, dtype=np.float32).reshape(5, 10, 10)
    directions = set()
    for seed in range(12):
        steps = np.diff(change_intensity(ramp, np.random.default_rng(seed)).ravel())
        assert (steps >= -1e-6).all() or (steps <= 1e-6).all()
        directions.add(bool(steps.sum() > 0))
    assert directions == {True, False}


def test_in_painting_keeps_the_outside_and_out_painting_some_inside():
    cube = _cube()
    for seed in range(10):
        inside = paint_inside(cube, np.random.default_rng(seed)) == cube
        outside = paint_outside(cube, np.random.default_rng(seed)) == cube
        assert 0.3 < inside.mean() < 1
        assert 0.05 < outside.mean() < 0.95


def test_blocks_are_as_many_as_the_chance_of_another_says_and_as_large_as_published():
    """In-painting begins with the chance too, out-painting always leaves a block."""
    cube = np.full((42, 42, 42), 2.0, np.float32)
    never, always = np.random.default_rng(0), np.random.default_rng(1)
    assert np.array_equal(paint_inside(cube, never, another=0.0), cube)
    shares = [(paint_outside(cube, never, another=0.0) == 2).mean() for _ in range(50)]
    assert min(shares) * 42**3 >= 18**3 and max(shares) * 42**3 <= 24**3
    painted = [(paint_inside(cube, always, another=1.0) != 2).mean() for _ in range(50)]
    assert min(painted) * 42**3 >= 7**3 and max(painted) * 42**3 <= 5 * 14**3


def test_a_cube_is_painted_inside_or_outside_but_never_both(monkeypatch):
    called = []
    module = "SegDLTrainingLib.restoration.distortions."
    monkeypatch.setattr(module + "paint_inside", lambda cube, *_: called.append("inside") or cube)
    monkeypatch.setattr(module + "paint_outside", lambda cube, *_: called.append("outside") or cube)
    distortion, rng = Distortion(shuffling=0, intensity=0), np.random.default_rng(5)
    for _ in range(2000):
        before = len(called)
        distortion(_cube(shape=(4, 4, 4)), rng)
        assert len(called) - before <= 1
    assert len(called) / 2000 == pytest.approx(0.9, abs=0.03)
    assert called.count("inside") / len(called) == pytest.approx(0.2, abs=0.03)


def test_the_target_is_flipped_but_not_distorted():
    volume = np.random.default_rng(0).random((20, 30, 30), np.float32)
    _, truth = RestorationBatches([volume], (30, 30, 20), 1, seed=4).batch(0)
    flips = [np.flip(volume, axes) for axes in [(), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]]
    assert any(np.array_equal(truth[0, 0], flipped) for flipped in flips)


def test_rows_follow_from_seed_number_and_row():
    volume = np.random.default_rng(0).random((40, 70, 70), np.float32)
    first, again = (RestorationBatches([volume], (32, 32, 16), 2, seed=1) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.batch(3), again.batch(3), strict=True))
    assert not torch.equal(first.batch(3)[0], first.batch(4)[0])
    assert first.batch(0)[0].shape == (2, 1, 16, 32, 32)
    for whole, part in zip(first.batch(3), first.batch(3, [1]), strict=True):
        assert torch.equal(whole[1:], part)
    assert first.volumes_of(3) == [0, 0]


def test_a_volume_smaller_than_the_cube_is_continued_with_air():
    seen, truth = RestorationBatches([np.full((3, 5, 5), 0.75, np.float32)], (16, 16, 8), 1).batch(0)
    assert truth.shape == seen.shape == (1, 1, 8, 16, 16)
    assert (truth > 0).sum() == 75


def test_the_error_falls_on_one_batch():
    torch.manual_seed(0)
    cube = _cube(shape=(16, 16, 16))
    seen, truth = RestorationBatches([cube], (16, 16, 16), 2, distortion=Distortion(blocks=100)).batch(0)
    network = build_network("genesis_unet3d", {"filters": 4})
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    errors = []
    for _ in range(20):
        error = torch.nn.functional.mse_loss(torch.sigmoid(network(seen)), truth)
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        errors.append(error.item())
    assert errors[-1] < 0.6 * errors[0]
