"""The 2D U-Net of lungmask (report 003): left and right lung in CT slices.

Hofmanninger et al., "Automatic lung segmentation in routine imaging is primarily a data diversity problem",
European Radiology Experimental 2020.  The modules bear the names of the public weights (R231 and others),
which load as they are.
"""

from __future__ import annotations

import torch
from torch import nn

from SegDLEngine.networks.layers import features_of_levels, he_normal, initialise
from SegDLEngine.networks.network import Network, dropout_layers
from SegDLEngine.networks.reach import receptive_field


class _Stored(nn.Module):
    """Holds two layers that the public weights contain and no computation uses."""

    def __init__(self, channels_in: int, width: int):
        super().__init__()
        self.residual_input_conv = nn.Conv2d(channels_in, width, 1)
        self.residual_batchnorm = nn.BatchNorm2d(width)


class _Level(_Stored):
    """Two convolutions, each followed by ReLU, then batch norm."""

    def __init__(self, channels_in: int, width: int):
        super().__init__(channels_in, width)
        units: list[nn.Module] = []
        for before in (channels_in, width):
            units += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU(inplace=True), nn.BatchNorm2d(width)]
        self.block = nn.Sequential(*units)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.block(features)


class _StepUp(_Stored):
    """Bilinear upsampling, 1x1 convolution, [up, skip], a level."""

    def __init__(self, below: int, width: int):
        super().__init__(below, width)
        self.up = nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(below, width, 1))
        self.conv_block = _Level(2 * width, width)

    def forward(self, features: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        return self.conv_block(torch.cat([self.up(features), skip], dim=1))


class LungmaskUNet2d(Network):
    """(N, in_channels, j, i) to logits (N, out_channels, j, i), softmax outside; sides divisible by 16.

    The defaults have 31,054,275 parameters, 28,953,539 of them in use; classes are background, right and
    left lung.  Input of the public weights: slices in LPS orientation, cropped to the body, 256x256 pixels,
    (HU clipped to -1024..600, + 1024) / 1624.  Average pooling, bilinear upsampling with a 1x1 convolution,
    [up, skip].  The public network ends in a log softmax; softmax of the logits is its exponential.

    ``filters``: channels of the first level, doubled at each of the ``depth`` levels.
    """

    dimensions = 2

    def __init__(self, in_channels: int = 1, out_channels: int = 3, filters: int = 64, depth: int = 5):
        super().__init__()
        if depth < 2:
            raise TypeError(f"depth must be at least 2, found {depth}")
        widths = [filters * 2**level for level in range(depth)]
        self.down_path = nn.ModuleList(
            _Level(before, width) for before, width in zip([in_channels, *widths], widths, strict=False)
        )
        self.pool = nn.AvgPool2d(2)
        self.up_path = nn.ModuleList(_StepUp(2 * width, width) for width in widths[-2::-1])
        self.last = nn.Conv2d(filters, out_channels, 1)
        initialise(self, he_normal)

        self.divisible_by = 2 ** (depth - 1)
        self.report_input = (in_channels, 256, 256)
        down = ["conv3", "conv3"] + ["pool", "conv3", "conv3"] * (depth - 1)
        up = ["linear2", "conv1", "conv3", "conv3"] * (depth - 1)
        self.receptive_field = receptive_field([*down, *up, "conv1"], self.divisible_by)
        self.dropout_layers = dropout_layers(self)

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        skips = features_of_levels(self.down_path, self.pool, slices)
        features = skips.pop()
        for step, skip in zip(self.up_path, reversed(skips), strict=True):
            features = step(features, skip)
        return self.last(features)
