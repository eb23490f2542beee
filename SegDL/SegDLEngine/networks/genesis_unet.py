"""The U-Net of Models Genesis in 2D and 3D (report 003).

Zhou et al., "Models Genesis: Generic Autodidactic Models for 3D Medical Image Analysis", MICCAI 2019.  The
modules bear the names of the public weights, which so load once their prefix "module." is stripped and, as
they are stored (i, j, k), their kernels are turned (``genesis_unet3d.reorder_kernels``).
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from SegDLEngine.networks.layers import LAYERS, he_normal, initialise
from SegDLEngine.networks.network import Network, dropout_layers
from SegDLEngine.networks.reach import receptive_field


class _AlwaysBatch(nn.modules.batchnorm._BatchNorm):
    """Batch norm by the batch at hand in evaluation too; the running statistics then stay as they are."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if self.training:
            return super().forward(input)
        return functional.batch_norm(input, None, None, self.weight, self.bias, True, 0.0, self.eps)


class _AlwaysBatchNorm2d(_AlwaysBatch, nn.BatchNorm2d):
    pass


class _AlwaysBatchNorm3d(_AlwaysBatch, nn.BatchNorm3d):
    pass


_ALWAYS_BATCH = {2: _AlwaysBatchNorm2d, 3: _AlwaysBatchNorm3d}


def _convolutions(dimensions: int, batch_statistics: bool, *channels: int) -> nn.Sequential:
    layers = LAYERS[dimensions]
    norm = _ALWAYS_BATCH[dimensions] if batch_statistics else layers.batch_norm

    def unit(before: int, after: int) -> nn.Sequential:
        convolution = layers.convolution(before, after, 3, padding=1)
        parts = {"conv1": convolution, "bn1": norm(after), "activation": nn.ReLU(inplace=True)}
        return nn.Sequential(OrderedDict(parts))

    return nn.Sequential(*(unit(before, after) for before, after in pairwise(channels)))


class _Down(nn.Module):
    """Convolutions to ``width`` and twice the width."""

    def __init__(self, dimensions: int, batch_statistics: bool, channels_in: int, width: int):
        super().__init__()
        self.ops = _convolutions(dimensions, batch_statistics, channels_in, width, 2 * width)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.ops(features)


class _Up(nn.Module):
    """Transposed convolution that keeps the channels, [up, skip], two convolutions to ``width``."""

    def __init__(self, dimensions: int, batch_statistics: bool, below: int, width: int):
        super().__init__()
        self.up_conv = LAYERS[dimensions].transposed(below, below, 2, stride=2)
        self.ops = _convolutions(dimensions, batch_statistics, below + width, width, width)

    def forward(self, features: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        return self.ops(torch.cat([self.up_conv(features), skip], dim=1))


class _Output(nn.Module):
    def __init__(self, dimensions: int, channels_in: int, channels_out: int):
        super().__init__()
        self.final_conv = LAYERS[dimensions].convolution(channels_in, channels_out, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.final_conv(features)


class GenesisUNet(Network):
    """(N, in_channels, ...) to logits (N, out_channels, ...), sigmoid outside; sides divisible by 8.

    Levels of two convolutions (bias, batch norm, ReLU): f, 2f; 2f, 4f; 4f, 8f; 8f, 16f with f = ``filters``;
    transposed convolutions of kernel 2, [up, skip].

    ``batch_statistics``: the published network normalises by the batch at hand even when it is applied, so
    its output depends on what else is in the batch.  False uses running statistics, to be estimated before
    the public weights are used.
    """

    divisible_by = 8

    def __init__(
        self, dimensions: int, in_channels: int, out_channels: int, filters: int, batch_statistics: bool
    ):
        super().__init__()
        self.dimensions = dimensions
        kind = (dimensions, batch_statistics)
        self.pool = LAYERS[dimensions].max_pool(2)
        self.down_tr64 = _Down(*kind, in_channels, filters)
        self.down_tr128 = _Down(*kind, 2 * filters, 2 * filters)
        self.down_tr256 = _Down(*kind, 4 * filters, 4 * filters)
        self.down_tr512 = _Down(*kind, 8 * filters, 8 * filters)
        self.up_tr256 = _Up(*kind, 16 * filters, 8 * filters)
        self.up_tr128 = _Up(*kind, 8 * filters, 4 * filters)
        self.up_tr64 = _Up(*kind, 4 * filters, 2 * filters)
        self.out_tr = _Output(dimensions, 2 * filters, out_channels)
        initialise(self, he_normal)

        path = ["conv3", "conv3"] + ["pool", "conv3", "conv3"] * 3 + ["up", "conv3", "conv3"] * 3
        self.receptive_field = receptive_field([*path, "conv1"], self.divisible_by)
        self.dropout_layers = dropout_layers(self)

    def encode(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Features of the four encoder levels; the last has 16f channels at 1/8 of the sides."""
        outputs = [self.down_tr64(images)]
        for level in (self.down_tr128, self.down_tr256, self.down_tr512):
            outputs.append(level(self.pool(outputs[-1])))
        return outputs

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        *skips, features = self.encode(images)
        for level, skip in zip((self.up_tr256, self.up_tr128, self.up_tr64), reversed(skips), strict=True):
            features = level(features, skip)
        return self.out_tr(features)
