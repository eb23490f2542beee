"""What the tests of several networks measure in the same way."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from SegDLEngine.networks.layers import InstanceNorm
from SegDLEngine.networks.network import Network
from SegDLEngine.networks.registry import build_empty
from torch import nn


def count(name: str, **options) -> int:
    """Trainable parameters of a network, built without memory."""
    return sum(parameter.numel() for parameter in build_empty(name, options, "meta").parameters())


def reach_of_gradient(network: Network, side: int, across: int, phases: Iterable[int] | None = None) -> int:
    """Widest range of rows (first spatial axis) that one output voxel has a gradient for.

    The network is changed so that every voxel that can matter does: positive weights, mean pooling, no
    normalisation over channels or places.  ``side`` is the image's along the axis, ``across`` along others.
    """
    _linearise(network)
    network.double().eval()
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.1)
    widest, period = 0, network.divisible_by
    middle = side // 2 // period * period
    for phase in range(period) if phases is None else phases:
        shape = (1, network.report_input[0], side, *[across] * (network.dimensions - 1))
        image = torch.ones(shape, dtype=torch.float64, requires_grad=True)
        centre = [across // 2 - network.margin] * (network.dimensions - 1)
        network(image)[(0, 0, middle + phase - network.margin, *centre)].backward()
        rows = torch.nonzero(image.grad[0, 0].flatten(1).sum(dim=1)).ravel()
        assert rows[0] > 0 and rows[-1] < side - 1, "the test image is too small"
        widest = max(widest, int(rows[-1] - rows[0]) + 1)
    return widest


def _linearise(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.MaxPool2d) and child.stride == 2:
            setattr(module, name, nn.AvgPool2d(2))
        elif isinstance(child, nn.MaxPool2d):
            setattr(module, name, nn.AvgPool2d(child.kernel_size, stride=1))
        elif isinstance(child, nn.MaxPool3d):
            setattr(module, name, nn.AvgPool3d(2))
        elif isinstance(child, (InstanceNorm, nn.LayerNorm)):
            setattr(module, name, nn.Identity())
        else:
            _linearise(child)
