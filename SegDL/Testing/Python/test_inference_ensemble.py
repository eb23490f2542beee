"""Ensembles of folds: means, spreads and progress, against the members computed one by one."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch
from SegDLEngine.errors import ModelError
from SegDLEngine.inference.ensemble import predict_members
from SegDLEngine.inference.predict import predict
from SegDLEngine.inference.runtime import Runtime
from SegDLEngine.models.catalogue import Model, load_model
from SegDLEngine.models.writing import write_package
from SegDLEngine.networks.registry import build_network
from SegDLEngine.options import SegmentOptions
from SegDLEngine.pipeline import segment
from SegDLEngine.protocol import Reporter
from test_pipeline import CPU, PLAIN, image_of_balls
from threshold_model import threshold_card, threshold_tensors

SETTINGS = {"mode": "slices", "context": [0], "batch": 4, "activation": "sigmoid", "threshold": 0.5}
WINDOWS = {"mode": "windows", "patch": [8, 8, 8], "batch": 1, "activation": "sigmoid", "threshold": 0.5}


def members(count, labels=1):
    options = {"filters": 2, "depth": 2, "head_channels": 2, "out_channels": labels}
    for seed in range(count):
        torch.manual_seed(seed)
        yield build_network("lung_unet2d", options).eval()


def channels(size=(3, 16, 16)):
    return np.random.default_rng(1).normal(size=(1, *size)).astype(np.float32)


def together(settings, networks, samples=0, reporter=None):
    networks = list(networks)
    runtime, reporter = Runtime(torch.device("cpu")), reporter or Reporter()
    return predict_members(networks, len(networks), channels(), settings, runtime, reporter, samples)


def apart(settings, networks, samples=0):
    runtime = Runtime(torch.device("cpu"))
    return [
        predict(network, channels(), settings, runtime, Reporter(), samples, seed)
        for seed, network in enumerate(networks)
    ]


def entropy(p):
    return -p * np.log(p) - (1 - p) * np.log(1 - p)


def test_the_prediction_is_the_mean_of_the_members():
    found = together(SETTINGS, members(3))
    expected = np.mean([one.probability for one in apart(SETTINGS, members(3))], axis=0)
    np.testing.assert_allclose(found.probability, expected, atol=1e-6)
    assert found.mean is found.probability and found.std is None


def test_the_spread_of_the_members():
    found = together({**SETTINGS, "uncertainty": "ensemble"}, members(3), samples=1)
    each = np.stack([one.probability for one in apart(SETTINGS, members(3))]).astype(float)
    mean = each.mean(axis=0)
    np.testing.assert_allclose(found.mean, mean, atol=1e-6)
    np.testing.assert_allclose(found.std, each.std(axis=0), atol=1e-6)
    np.testing.assert_allclose(found.entropy, entropy(mean), atol=1e-6)
    expected = entropy(mean) - entropy(each).mean(axis=0)
    np.testing.assert_allclose(found.mutual_information, expected, atol=1e-6)
    assert found.std.max() > 1e-3


def test_equal_members_do_not_spread():
    (network,) = members(1)
    found = together({**SETTINGS, "uncertainty": "ensemble"}, [network] * 3, samples=1)
    assert found.std.max() == 0 and found.mutual_information.max() < 1e-6


def test_monte_carlo_samples_count_over_all_members():
    settings = {**SETTINGS, "uncertainty": "monte_carlo_dropout"}
    found = together(settings, members(2), samples=4)
    each = apart(settings, members(2), samples=4)
    mean = np.mean([one.mean for one in each], axis=0)
    squares = np.mean([one.std.astype(float) ** 2 + one.mean.astype(float) ** 2 for one in each], axis=0)
    np.testing.assert_allclose(found.mean, mean, atol=1e-6)
    np.testing.assert_allclose(found.std, np.sqrt(squares - mean**2), atol=1e-5)
    within = np.mean([one.entropy - one.mutual_information for one in each], axis=0)
    np.testing.assert_allclose(found.mutual_information, entropy(mean) - within, atol=2e-6)
    certain = np.mean([one.probability for one in each], axis=0)
    np.testing.assert_allclose(found.probability, certain, atol=1e-6)


def test_softmax_members_have_one_mutual_information():
    settings = {**SETTINGS, "activation": "softmax", "uncertainty": "ensemble"}
    found = together(settings, members(3, labels=4), samples=1)
    assert found.std.shape == (3, 3, 16, 16) and found.mutual_information.shape == (1, 3, 16, 16)
    each = np.stack([one.probability for one in apart(settings, members(3, labels=4))]).astype(float)
    full = np.concatenate([1 - each.sum(axis=1, keepdims=True), each], axis=1)
    mean = full.mean(axis=0)
    expected = -(mean * np.log(mean)).sum(axis=0) + (full * np.log(full)).sum(axis=1).mean(axis=0)
    np.testing.assert_allclose(found.mutual_information[0], expected, atol=1e-5)


def test_windows_of_several_networks():
    networks = [
        build_network("unet3d_69k", {"in_channels": 1}).eval() for _ in range(2) if torch.manual_seed(_)
    ]
    found = together({**WINDOWS, "uncertainty": "ensemble"}, networks, samples=1)
    each = np.stack([one.probability for one in apart(WINDOWS, networks)])
    np.testing.assert_allclose(found.std, each.std(axis=0), atol=1e-6)


def test_one_plan_and_one_progress_for_all_members():
    events = []
    together(SETTINGS, members(3), reporter=Reporter(events.append))
    fractions = [event["fraction"] for event in events if event["event"] == "progress"]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert 0 < fractions[len(fractions) // 2] < 1
    assert sum(event["event"] == "plan" for event in events) == 1


def test_one_network_has_no_spread_of_members():
    with pytest.raises(ModelError, match="one network"):
        together({**SETTINGS, "uncertainty": "ensemble"}, members(1), samples=1)


def test_one_network_is_in_memory_at_a_time(tmp_path):
    """Neither this loop nor a model's own keeps a network while the next one is built."""
    card = threshold_card(1)
    states = [threshold_tensors(card, [400.0], [level]) for level in (0.4, 0.5, 0.6)]
    write_package(states, card, tmp_path / "model", licence_text="Apache-2.0\n")
    built: list[weakref.ref] = []

    class Watched(Model):
        def build(self, fold=0):
            gc.collect()
            assert [network() for network in built] == [None] * fold
            network = super().build(fold)
            built.append(weakref.ref(network))
            return network

    model = load_model(tmp_path / "model")
    watched = Watched(model.card, model.folder)
    predict_members(watched.networks(), 3, channels(), SETTINGS, Runtime(torch.device("cpu")), Reporter())
    assert len(built) == 3


def test_an_ensemble_through_the_pipeline(tmp_path):
    """Thresholds at -520, -400 and -280 HU: where they disagree is where the members' spread is."""
    card = threshold_card(1)
    card["inference"]["uncertainty"] = "ensemble"
    card["inference"].pop("samples")
    states = [threshold_tensors(card, [400.0], [level]) for level in (0.4, 0.5, 0.6)]
    write_package(states, card, tmp_path / "model", licence_text="Apache-2.0\n")
    result = segment({"CT": image_of_balls(PLAIN)}, tmp_path / "model", SegmentOptions(**CPU))
    plain = segment({"CT": image_of_balls(PLAIN)}, tmp_path / "model", SegmentOptions(samples=0, **CPU))
    np.testing.assert_array_equal(result.labels.array, plain.labels.array)
    assert set(plain.maps) == {"mean"}
    assert result.maps["std"].array.max() == pytest.approx(np.sqrt(2) / 3, abs=0.02)
    assert 0.3 < result.maps["mutual_information"].array.max() <= np.log(2)
    assert result.provenance["model"]["sha256"] and result.lesions[0]["mean_uncertainty"] >= 0
    assert result.provenance["samples"] == 1
