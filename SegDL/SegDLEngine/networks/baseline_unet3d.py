"""The plain 3D U-Net that report 000 compares its networks with (Iantsen et al., HECKTOR 2020)."""

from __future__ import annotations

import torch
from torch import nn

from SegDLEngine.networks.layers import InstanceNorm, features_of_levels, he_normal, initialise
from SegDLEngine.networks.network import Network, dropout_layers
from SegDLEngine.networks.reach import receptive_field

LEVELS = 4


def _double_convolution(channels_in: int, width: int) -> nn.Sequential:
    units = []
    for before in (channels_in, width):
        units += [
            nn.Conv3d(before, width, 3, padding=1, bias=False),
            InstanceNorm(width, affine=True),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*units)


class BaselineUNet3d(Network):
    """(N, in_channels, k, j, i) to logits (N, out_channels, k, j, i), sigmoid outside; sides divisible by 8.

    Four levels of two convolutions (instance norm, ReLU), transposed convolutions, [up, skip].  The default
    of 24 ``filters``, doubled at each of the three poolings, has 3,611,665 parameters; inputs CT and PET.
    """

    dimensions = 3
    divisible_by = 2 ** (LEVELS - 1)

    def __init__(self, in_channels: int = 2, out_channels: int = 1, filters: int = 24):
        super().__init__()
        widths = [filters * 2**level for level in range(LEVELS)]
        self.encoder = nn.ModuleList(
            _double_convolution(before, width)
            for before, width in zip([in_channels, *widths], widths, strict=False)
        )
        self.pool = nn.MaxPool3d(2)
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(2 * width, width, 3, stride=2, padding=1, output_padding=1)
            for width in widths[-2::-1]
        )
        self.decoder = nn.ModuleList(_double_convolution(2 * width, width) for width in widths[-2::-1])
        self.output = nn.Conv3d(filters, out_channels, 1)
        initialise(self, he_normal)

        self.report_input = (in_channels, 144, 144, 144)
        steps = ["conv3", "conv3"] + ["pool", "conv3", "conv3"] * (LEVELS - 1)
        steps += ["transposed3", "conv3", "conv3"] * (LEVELS - 1)
        self.receptive_field = receptive_field([*steps, "conv1"], self.divisible_by)
        self.dropout_layers = dropout_layers(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        skips = features_of_levels(self.encoder, self.pool, images)
        features = skips.pop()
        for up, level, skip in zip(self.up, self.decoder, reversed(skips), strict=True):
            features = level(torch.cat([up(features), skip], dim=1))
        return self.output(features)
