"""The first values of weights: those that the reports name, and He's where they name none."""

from __future__ import annotations

import pytest
import torch
from SegDLEngine.networks.registry import build_network
from torch import nn

CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def convolutions(name: str, **options) -> list[nn.Module]:
    torch.manual_seed(0)
    network = build_network(name, options)
    return [module for module in network.modules() if isinstance(module, CONVOLUTIONS)]


def fans(weight: torch.Tensor) -> tuple[int, int]:
    """Inputs and outputs of one output and one input value."""
    field = weight[0, 0].numel()
    return weight.shape[1] * field, weight.shape[0] * field


@pytest.mark.parametrize(
    "name", ["se_resunet3d", "baseline_unet3d", "multiscale_cnn3d", "genesis_unet2d", "unet3d_69k"]
)
def test_kernels_begin_as_he_et_al_have_them(name):
    """Normally distributed with the variance 2 / inputs, biases 0."""
    small = {"filters": 4} if name in ("se_resunet3d", "baseline_unet3d", "genesis_unet2d") else {}
    scaled = []
    for module in convolutions(name, **small):
        assert module.bias is None or not module.bias.any()
        scaled.append((module.weight * (fans(module.weight)[0] / 2) ** 0.5).flatten())
    values = torch.cat(scaled)
    assert values.mean().item() == pytest.approx(0, abs=0.02)
    assert values.std().item() == pytest.approx(1, abs=0.02)
    assert values.abs().max() > 3.2, "not cut off, as uniform ones are"


def test_batch_norm_and_slopes_of_report_002_begin_at_1_and_a_quarter():
    """The released code draws them too, which is not to be copied."""
    network = build_network("multiscale_cnn3d", {})
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm3d)]
    slopes = [module for module in network.modules() if isinstance(module, nn.PReLU)]
    assert norms and all((norm.weight == 1).all() and not norm.bias.any() for norm in norms)
    assert slopes and all((slope.weight == 0.25).all() for slope in slopes)


@pytest.mark.parametrize("name", ["two_path_cnn", "input_cascade_cnn"])
def test_havaei_begins_uniformly_within_five_thousandths(name):
    for module in convolutions(name):
        assert not module.bias.any()
        assert module.weight.abs().max() <= 0.005
        assert module.weight.std().item() == pytest.approx(0.005 / 3**0.5, rel=0.1)


def test_report_004_begins_as_keras_does():
    """Glorot: uniform within the root of 6 / (inputs + outputs), biases 0."""
    for module in convolutions("res_unet2d"):
        assert module.bias is None or not module.bias.any()
        bound = (6 / sum(fans(module.weight))) ** 0.5
        assert module.weight.abs().max() <= bound
        if module.weight.numel() > 500:
            assert module.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)
