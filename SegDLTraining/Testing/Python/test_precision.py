"""Where bfloat16 is not used although a recipe asks for it."""

from __future__ import annotations

import pytest
import torch
from SegDLEngine.networks.registry import build_network
from SegDLEngine.protocol import Reporter
from SegDLTrainingLib.fit import fit
from SegDLTrainingLib.losses.registry import LOSSES
from SegDLTrainingLib.precision import Precision, usable_kind
from tiny_training import balls, smallest_recipe


@pytest.mark.parametrize(
    "patch, kind",
    [([32, 32, 32], "none"), ([48, 48, 16], "none"), ([48, 48, 48], "bfloat16"), ([16, 48, 48], "bfloat16")],
)
def test_two_slices_deep_down_need_float32_on_a_cpu(patch, kind):
    """With four poolings 32 slices become 2 and 16 become 2 one level higher."""
    network = build_network("se_resunet3d", {"filters": 2})
    assert usable_kind("bfloat16", "cpu", network, patch) == kind
    assert usable_kind("none", "cpu", network, patch) == "none"
    assert usable_kind("bfloat16", "cuda", network, patch) == "bfloat16"


def test_slices_are_not_concerned():
    network = build_network("genesis_unet2d", {"filters": 2})
    assert usable_kind("bfloat16", "cpu", network, [16, 16]) == "bfloat16"


def test_the_gradient_with_the_usable_kind_is_right():
    """The reason for the rule: the largest error of bfloat16's gradient, with and without it."""

    def gradient(kind: str) -> torch.Tensor:
        torch.manual_seed(0)
        network = build_network("unet3d_69k", {})
        images = torch.randn(2, 4, 8, 8, 8)
        with Precision(kind, "cpu").autocast():
            logits = network(images)
        logits.float().square().mean().backward()
        return torch.cat([entry.grad.flatten() for entry in network.parameters() if entry.grad is not None])

    exact = gradient("none")
    kind = usable_kind("bfloat16", "cpu", build_network("unet3d_69k", {}), [8, 8, 8])
    assert (gradient(kind) - exact).abs().max() < 0.05 * exact.abs().max()


def test_losses_are_computed_in_single_precision(tmp_path, monkeypatch):
    """In training and validation, and outside of autocast: half precision would lose their sums."""
    seen = []

    def watched(activation):
        def compute(logits, target, epoch):
            seen.append((logits.dtype, target.dtype, torch.is_autocast_enabled("cpu")))
            return (logits.sigmoid() - target).square().mean()

        return compute

    monkeypatch.setitem(LOSSES, "watched", watched)
    training = {"epochs": 1, "steps_per_epoch": 1, "mixed_precision": "bfloat16"}
    fit(smallest_recipe(loss={"name": "watched"}, training=training), balls(), balls(1), tmp_path, Reporter())
    assert len(seen) == 2
    assert set(seen) == {(torch.float32, torch.float32, False)}
