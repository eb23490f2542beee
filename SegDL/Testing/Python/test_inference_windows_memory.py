"""Windows on a computer with little memory: the plan, half precision, and smaller steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from SegDLEngine.errors import SegDLError
from SegDLEngine.inference import execution, windows
from SegDLEngine.inference.execution import Executor
from SegDLEngine.inference.predict import predict
from SegDLEngine.inference.runtime import Runtime
from SegDLEngine.protocol import Reporter
from window_case import SETTINGS, Pointwise, run, small_unet, volume, whole

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("checked", [True, False])
def test_half_precision_is_close(checked):
    net, channels = small_unet(), volume(1, 10, 14, 22)
    run_in_half = Runtime(torch.device("cpu"), "bf16", check_precision=checked)
    with torch.no_grad():
        net.output.bias.fill_(-8.0)
    found = predict(net, channels, SETTINGS, run_in_half, Reporter()).probability
    assert run_in_half.precision == "bf16" and not run_in_half.check_precision
    difference = np.abs(found - run(net, channels).probability)
    assert 0 < difference.max() < 0.05


def test_plan_event_tells_patch_memory_and_time():
    events: list = []
    channels = volume(1, 20, 24, 40)
    run(small_unet(), channels, patch=[32, 24, 16], reporter=Reporter(events.append))
    (plan,) = [event for event in events if event["event"] == "plan"]
    assert plan["patch"] == [32, 24, 16] and plan["device"] == "cpu" and plan["precision"] == "fp32"
    # Ten features of a window and the ten of the skip are alive together: 1 MB.
    assert 1 <= plan["memory_mb"] < 50 and plan["seconds"] >= 0


def test_out_of_memory_lowers_the_batch_and_keeps_the_result(monkeypatch):
    net, channels = small_unet(), volume(1, 10, 14, 22)
    expected = run(net, channels).probability
    monkeypatch.setattr(execution, "_CPU_BATCH_VOXELS", 2**30)
    original = Executor.run

    def hungry(self, images, items, *rest):
        if len(items) > 2:
            raise MemoryError
        return original(self, images, items, *rest)

    monkeypatch.setattr(Executor, "run", hungry)
    reporter = Reporter()
    found = run(net, channels, batch=8, reporter=reporter).probability
    np.testing.assert_allclose(found, expected, atol=2e-5)
    texts = [warning["text"] for warning in reporter.warnings]
    assert [text.rpartition(" with ")[2] for text in texts] == ["batch of 4.", "batch of 2."]


@pytest.mark.parametrize("adapt", [True, False])
def test_out_of_memory_shrinks_the_patch_where_the_card_allows(monkeypatch, adapt):
    monkeypatch.setattr(execution, "has_fast_bf16", lambda device: False)
    monkeypatch.setattr(windows, "_LEAST_SIDE", 8)
    net, channels = Pointwise(), volume(1, 30, 30, 30)
    original = Executor.run

    def hungry(self, images, items, *rest):
        if images[0].size > 8**3:
            raise MemoryError
        return original(self, images, items, *rest)

    monkeypatch.setattr(Executor, "run", hungry)
    reporter = Reporter()
    changes = {"patch": [32, 32, 32], "adapt_patch": adapt, "reporter": reporter}
    if not adapt:
        with pytest.raises(SegDLError, match="not enough memory"):
            run(net, channels, **changes)
        return
    found = run(net, channels, **changes).probability
    np.testing.assert_allclose(found, whole(net, channels), atol=1e-6)
    assert [warning["text"].partition("windows of ")[2] for warning in reporter.warnings] == [
        "16 x 16 x 16 voxels.",
        "8 x 8 x 8 voxels.",
    ]
