"""Flip test-time augmentation: what mirror images change, in windows and in slices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from SegDLEngine.errors import ModelError
from SegDLEngine.inference.mirroring import Mirroring
from SegDLEngine.inference.predict import predict
from SegDLEngine.networks.registry import build_network
from SegDLEngine.protocol import Reporter
from window_case import SETTINGS, Pointwise, Steep, run, runtime, small_unet, volume

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("uncertainty", ["none", "flip_tta"])
def test_mirror_images_of_a_symmetric_network_change_nothing(uncertainty):
    net, channels = Pointwise(), volume(1, 10, 14, 20)
    plain = run(net, channels).probability
    samples = int(uncertainty == "flip_tta")
    found = run(net, channels, samples, mirroring=["i", "j", "k"], uncertainty=uncertainty)
    np.testing.assert_allclose(found.probability, plain, atol=1e-6)
    if samples:
        assert found.std.max() < 1e-6


def test_mirror_images_are_averaged_and_their_spread_is_the_uncertainty():
    channels = volume(1, 4, 6, 9)
    settings = {"patch": [9, 6, 4], "uncertainty": "flip_tta"}
    ramp = 1 / (1 + np.exp(-np.linspace(-2, 2, 9)))
    mirrored = np.stack([ramp, ramp[::-1]])
    found = run(Steep(), channels, samples=1, mirroring=["i"], **settings)
    np.testing.assert_allclose(found.probability[0, 2, 3], mirrored.mean(axis=0), atol=1e-6)
    np.testing.assert_array_equal(found.mean, found.probability)
    np.testing.assert_allclose(found.std[0, 2, 3], mirrored.std(axis=0), atol=1e-6)
    everywhere = run(Steep(), channels, samples=1, **settings)
    np.testing.assert_allclose(everywhere.probability[0, 2, 3], ramp, atol=1e-6)
    np.testing.assert_allclose(everywhere.mean[0, 2, 3], mirrored.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(everywhere.std[0, 2, 3], mirrored.std(axis=0), atol=1e-6)
    without = run(Steep(), channels, samples=0, **settings)
    np.testing.assert_allclose(without.probability[0, 2, 3], ramp, atol=1e-6)
    assert without.std is None


def test_mirror_images_leave_monte_carlo_alone():
    net, channels = small_unet(dropout=0.5), volume(1, 8, 12, 16)
    plain, mirrored = (run(net, channels, 2, 3, **more) for more in ({}, {"mirroring": ["j"]}))
    np.testing.assert_array_equal(mirrored.std, plain.std)
    np.testing.assert_array_equal(mirrored.mean, plain.mean)
    other = run(net, channels[:, :, ::-1].copy()).probability[:, :, ::-1]
    np.testing.assert_allclose(mirrored.probability, (plain.probability + other) / 2, atol=1e-5)
    assert np.abs(plain.probability - other).max() > 1e-3


def test_mirror_images_of_slices():
    """A 2D network whose answer leans to one side: the mean of both sides does not."""
    torch.manual_seed(0)
    net = build_network("lung_unet2d", {"in_channels": 1, "filters": 2, "depth": 2}).eval()
    channels = volume(1, 2, 8, 12)
    settings = {**SETTINGS, "mode": "slices", "mirroring": ["i"], "uncertainty": "flip_tta"}
    one = predict(net, channels, settings, runtime(), Reporter(), 1)
    other = predict(net, channels[..., ::-1].copy(), settings, runtime(), Reporter(), 1)
    np.testing.assert_allclose(one.probability, other.probability[..., ::-1], atol=1e-5)
    assert one.std.max() > 1e-3
    with pytest.raises(ModelError, match="axis 'k'"):
        predict(net, channels, {**settings, "mirroring": ["k"]}, runtime(), Reporter())


def test_all_combinations_of_axes_are_seen():
    found = Mirroring.of({"mirroring": ["k", "i"]}, 3, 0)
    assert found.predicts and not found.spreads
    assert set(found.flips) == {(-1,), (-3,), (-1, -3)}
    assert len(Mirroring.of({"uncertainty": "flip_tta"}, 3, 1).flips) == 7
    assert Mirroring.of({"uncertainty": "flip_tta"}, 3, 0) == Mirroring()
