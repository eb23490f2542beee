"""Slice-wise inference: channels, padding, selection of slices, and independence of the batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SegDLEngine
import torch
from SegDLEngine.errors import Cancelled, ModelError, SegDLError
from SegDLEngine.inference import execution
from SegDLEngine.inference.execution import Executor, fold_batch_norm
from SegDLEngine.inference.predict import predict
from SegDLEngine.inference.runtime import Runtime
from SegDLEngine.inference.slices import slice_channels
from SegDLEngine.networks.registry import build_network
from SegDLEngine.protocol import Reporter
from torch import nn

SETTINGS = {"mode": "slices", "context": [-1, 0, 1], "batch": 4, "activation": "sigmoid", "threshold": 0.5}


def runtime() -> Runtime:
    return Runtime(torch.device("cpu"))


def network(seed: int = 0, **options) -> nn.Module:
    torch.manual_seed(seed)
    return build_network(
        "lung_unet2d", {"in_channels": 3, "filters": 4, "depth": 3, "head_channels": 4, **options}
    ).eval()


def volume(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).random(shape, dtype=np.float32)


def test_context_slices_are_channels_and_edges_are_repeated():
    channels = np.stack([np.arange(5.0), 10 + np.arange(5.0)])[:, :, None, None].astype(np.float32)
    found = slice_channels(channels, [0, 2, 4], [-1, 0, 1])[:, :, 0, 0]
    assert found.tolist() == [
        [0, 0, 1, 10, 10, 11],
        [1, 2, 3, 11, 12, 13],
        [3, 4, 4, 13, 14, 14],
    ]
    assert slice_channels(channels, [3], [0])[:, :, 0, 0].tolist() == [[3, 13]]


def test_prediction_is_the_network_on_every_slice():
    net, channels = network(), volume(1, 6, 24, 32)
    found = predict(net, channels, SETTINGS, runtime(), Reporter())
    with torch.no_grad():
        slices = torch.from_numpy(slice_channels(channels, range(6), SETTINGS["context"]))
        expected = torch.sigmoid(net(slices)).numpy().swapaxes(0, 1)
    assert found.probability.shape == (1, 6, 24, 32) and found.probability.dtype == np.float32
    np.testing.assert_allclose(found.probability, expected, atol=1e-5)
    assert found.mean is found.probability and found.std is None and found.entropy is None


def test_padding_is_air_at_the_end_and_is_cut_off_again():
    net, channels = network(), volume(1, 3, 21, 30)
    padded = np.zeros((1, 3, 24, 32), np.float32)
    padded[..., :21, :30] = channels
    one = predict(net, channels, SETTINGS, runtime(), Reporter()).probability
    other = predict(net, padded, SETTINGS, runtime(), Reporter()).probability
    np.testing.assert_allclose(one, other[..., :21, :30], atol=1e-6)


@pytest.mark.parametrize("batch", [1, 5, 8])
def test_batch_size_changes_nothing(batch):
    net, channels = network(), volume(1, 8, 16, 16)
    settings = {**SETTINGS, "batch": batch}
    found = predict(net, channels, settings, runtime(), Reporter(), samples=3, seed=1)
    alone = predict(net, channels, {**SETTINGS, "batch": 2}, runtime(), Reporter(), samples=3, seed=1)
    for name in ("probability", "mean", "std", "entropy", "mutual_information"):
        np.testing.assert_allclose(getattr(found, name), getattr(alone, name), atol=2e-5, err_msg=name)


def test_only_slices_with_mask_are_computed(monkeypatch):
    net, channels = network(), volume(1, 7, 16, 16)
    mask = np.zeros((7, 16, 16), bool)
    mask[[1, 4], 3, 3] = True
    whole = predict(net, channels, SETTINGS, runtime(), Reporter()).probability
    computed = []
    original = Executor.run

    def watched(self, images, items, *rest):
        computed.extend(items if rest else ())
        return original(self, images, items, *rest)

    monkeypatch.setattr(Executor, "run", watched)
    part = predict(net, channels, SETTINGS, runtime(), Reporter(), mask=mask).probability
    assert computed == [1, 4]
    np.testing.assert_allclose(part[:, [1, 4]], whole[:, [1, 4]], atol=1e-6)
    assert not part[:, [0, 2, 3, 5, 6]].any()


def test_an_empty_mask_gives_an_empty_prediction():
    found = predict(
        network(out_channels=2), volume(1, 4, 16, 16), SETTINGS, runtime(), Reporter(), 2, 0,
        np.zeros((4, 16, 16), bool),
    )  # fmt: skip
    assert found.probability.shape == (2, 4, 16, 16)
    assert not found.probability.any() and not found.std.any()


def test_softmax_gives_the_foreground_labels():
    settings = {**SETTINGS, "activation": "softmax"}
    net, channels = network(out_channels=3), volume(1, 3, 16, 16)
    found = predict(net, channels, settings, runtime(), Reporter(), samples=2)
    with torch.no_grad():
        slices = torch.from_numpy(slice_channels(channels, range(3), SETTINGS["context"]))
        expected = torch.softmax(net(slices), dim=1)[:, 1:].numpy().swapaxes(0, 1)
    np.testing.assert_allclose(found.probability, expected, atol=1e-5)
    assert found.std.shape == (2, 3, 16, 16) and found.entropy.shape == (1, 3, 16, 16)
    assert 0 < found.entropy.max() <= np.log(3) + 1e-5


def test_folded_batch_norm_computes_the_same():
    net = network(normalisation="batch")
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.weight)
    slices = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        expected = net(slices)
        fold_batch_norm(net)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
        torch.testing.assert_close(net(slices), expected, rtol=1e-4, atol=1e-4)


def test_the_given_network_stays_as_it_is():
    net = network(normalisation="batch").train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    predict(net, volume(1, 3, 16, 16), SETTINGS, Runtime(torch.device("cpu"), "bf16"), Reporter(), samples=2)
    assert net.training
    for name, value in net.state_dict().items():
        assert value.dtype == before[name].dtype and torch.equal(value, before[name]), name


def test_half_precision_is_close():
    net, channels = network(), volume(1, 4, 32, 32)
    full = predict(net, channels, SETTINGS, runtime(), Reporter()).probability
    half = predict(net, channels, SETTINGS, Runtime(torch.device("cpu"), "bf16"), Reporter()).probability
    assert half.dtype == np.float32
    assert 0 < np.abs(half - full).max() < 0.05


@pytest.mark.parametrize(("offset", "kept"), [(0.0, "bf16"), (100.0, "fp32")])
def test_proposed_half_precision_must_leave_the_labels_alone(offset, kept):
    """Features that differ by less than a step of bfloat16 round 100: only float32 can tell them apart."""
    net = network()
    with torch.no_grad():
        net.head.conv.bias.fill_(offset)
        net.output.weight.fill_(1.0)
        slices = torch.from_numpy(slice_channels(volume(1, 4, 32, 32), range(4), SETTINGS["context"]))
        net.output.bias.fill_(-net(slices).median().item() if offset else -10.0)
    events = []
    run = Runtime(torch.device("cpu"), "bf16", check_precision=True)
    predict(net, volume(1, 4, 32, 32), SETTINGS, run, Reporter(events.append))
    assert run.precision == kept and not run.check_precision
    assert next(event for event in events if event["event"] == "plan")["precision"] == kept
    assert any(event["event"] == "log" for event in events) == (kept == "fp32")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_agrees_with_the_cpu():
    net, channels = network(), volume(1, 4, 32, 32)
    cpu = predict(net, channels, SETTINGS, runtime(), Reporter(), samples=2)
    first, again = (
        predict(net, channels, SETTINGS, Runtime(torch.device("cuda")), Reporter(), samples=2)
        for _ in range(2)
    )
    np.testing.assert_allclose(first.probability, cpu.probability, atol=1e-3)
    np.testing.assert_allclose(first.std, again.std, atol=1e-4)
    assert first.std.mean() > 0


def test_plan_event_estimates_memory_and_time():
    events = []
    predict(network(filters=8), volume(1, 8, 64, 64), SETTINGS, runtime(), Reporter(events.append), samples=2)
    (plan,) = [event for event in events if event["event"] == "plan"]
    assert plan["device"] == "cpu" and plan["precision"] == "fp32" and plan["patch"] == [64, 64, 4]
    # The two first features of a full batch, 4 x 8 x 64 x 64 float32 each, must fit at least.
    assert 1 <= plan["memory_mb"] < 100
    assert plan["seconds"] >= 0


def test_memory_is_measured_not_guessed():
    net = network()
    executor = Executor(net, runtime(), Reporter(), activation="sigmoid", batch=1)
    small = executor.probe(volume(1, 3, 32, 32), 0.5, 0).memory_bytes
    executor.batch = 4
    large = executor.probe(volume(1, 3, 32, 32), 0.5, 0).memory_bytes
    weights = sum(value.nbytes for value in net.state_dict().values())
    assert large - weights == pytest.approx(4 * (small - weights))
    # At the first decoder's convolution there are at least skip, upsampled features and their concatenation.
    assert small - weights > 4 * 32 * 32 * 4 * 4


def test_prediction_does_not_load_the_compiler():
    """Importing torch._dynamo takes seconds, which every first click would pay."""
    code = """
import sys, numpy, torch
from SegDLEngine.inference.predict import predict
from SegDLEngine.inference.runtime import choose_runtime
from SegDLEngine.networks.registry import build_network
from SegDLEngine.protocol import Reporter
network = build_network("lung_unet2d", {"filters": 2, "depth": 3, "normalisation": "batch"})
settings = {"mode": "slices", "activation": "sigmoid", "threshold": 0.5}
predict(network, numpy.ones((1, 3, 16, 16), "f4"), settings, choose_runtime("cpu"), Reporter(), 2)
print("torch._dynamo" in sys.modules, "sympy" in sys.modules)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(SegDLEngine.__file__).parents[1])}
    found = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    assert found.split() == ["False", "False"]


def test_out_of_memory_steps_down_and_repeats_the_batch(monkeypatch):
    net, channels = network(), volume(1, 6, 16, 16)
    expected = predict(net, channels, SETTINGS, runtime(), Reporter(), samples=2).std
    original = Executor.run

    def hungry(self, images, items, *rest):
        if len(items) > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        return original(self, images, items, *rest)

    monkeypatch.setattr(Executor, "run", hungry)
    reporter = Reporter()
    found = predict(net, channels, SETTINGS, runtime(), reporter, samples=2).std
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert [warning["code"] for warning in reporter.warnings] == ["memory"]
    assert "batch of 2" in reporter.warnings[0]["text"]


def test_the_steps_down_end_in_an_error_that_says_so(monkeypatch):
    monkeypatch.setattr(execution, "has_fast_bf16", lambda device: True)

    def starved(self, *rest):
        raise MemoryError("nothing left")

    monkeypatch.setattr(Executor, "run", starved)
    reporter, run = Reporter(), runtime()
    with pytest.raises(SegDLError, match="not enough memory") as caught:
        predict(network(), volume(1, 3, 16, 16), SETTINGS, run, reporter)
    assert caught.value.code == "memory" and caught.value.exit_code == 1
    steps = [warning["text"].rpartition(" with ")[2] for warning in reporter.warnings]
    assert steps == ["batch of 2.", "batch of 1.", "half precision."]
    assert run.precision == "bf16"


def test_weights_that_do_not_fit_into_the_device_step_down_too(monkeypatch):
    """The first copy of the weights fails; the second attempt, with a smaller batch, succeeds."""
    failures = [torch.cuda.OutOfMemoryError("CUDA out of memory.")]
    original = execution.fold_batch_norm

    def fold(net):
        if failures:
            raise failures.pop()
        original(net)

    monkeypatch.setattr(execution, "fold_batch_norm", fold)
    reporter = Reporter()
    found = predict(network(), volume(1, 3, 16, 16), SETTINGS, runtime(), reporter)
    assert found.probability.any() and len(reporter.warnings) == 1


def test_other_errors_are_not_taken_for_a_lack_of_memory(monkeypatch):
    def broken(self, *rest):
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(Executor, "run", broken)
    with pytest.raises(RuntimeError, match="multiplied"):
        predict(network(), volume(1, 3, 16, 16), SETTINGS, runtime(), Reporter())


def test_cancel_stops_within_a_batch():
    fractions = []

    def sink(event):
        if event["event"] == "progress":
            fractions.append(event["fraction"])

    reporter = Reporter(sink, lambda: len(fractions) >= 3)
    with pytest.raises(Cancelled):
        predict(network(), volume(1, 8, 16, 16), SETTINGS, runtime(), reporter, samples=20)
    assert len(fractions) == 3 and fractions[-1] < 0.5


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"mode": "windows"}, "mode 'windows'"),
        ({"activation": "tanh"}, "activation 'tanh'"),
        ({"context": [0]}, "takes 3 channels"),
    ],
)
def test_settings_that_cannot_be_served_are_model_errors(changes, text):
    with pytest.raises(ModelError, match=text):
        predict(network(), volume(1, 3, 16, 16), {**SETTINGS, **changes}, runtime(), Reporter())
