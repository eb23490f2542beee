"""The small 2D U-Net of report 001's notebook, for 32x32 thumbnails of CT slices."""

from __future__ import annotations

import torch
from torch import nn

from SegDLEngine.networks.blocks import ConvUnit, SameConv2d
from SegDLEngine.networks.network import Network, dropout_layers
from SegDLEngine.networks.reach import receptive_field


class LungUNet2dSmall(Network):
    """(N, in_channels, j, i) to logits (N, out_channels, j, i), sigmoid outside; 23,017 parameters.

    Encoder of single 3x3 convolutions with 8, 16 and 32 channels, a 1x1 convolution at the bottom, decoder
    of 2x2 convolutions over [skip, up] with 32, 24 and 16 channels; a 1x1 convolution to 64 channels and
    ``dropout`` before the output.  The notebook feeds slices scaled to 0..1 each.
    """

    dimensions = 2
    divisible_by = 8

    def __init__(self, in_channels: int = 1, out_channels: int = 1, dropout: float = 0.5):
        super().__init__()
        self.encoder = nn.ModuleList([ConvUnit(in_channels, 8, 3), ConvUnit(8, 16, 3), ConvUnit(16, 32, 3)])
        self.pool = nn.MaxPool2d(2)
        self.bottom = ConvUnit(32, 32, 1)
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.decoder = nn.ModuleList(
            [ConvUnit(32 + 32, 32, 2), ConvUnit(16 + 32, 24, 2), ConvUnit(8 + 24, 16, 2)]
        )
        self.head = ConvUnit(16, 64, 1)
        self.dropout = nn.Dropout(dropout)
        self.output = SameConv2d(64, out_channels, 1)

        self.report_input = (in_channels, 32, 32)
        path = ["conv3", "pool"] * 3 + ["conv1"] + ["up", "conv2"] * 3 + ["conv1", "conv1"]
        self.receptive_field = receptive_field(path, self.divisible_by)
        self.dropout_layers = dropout_layers(self)

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        return self.from_prefix(self.shared_prefix(slices))

    def shared_prefix(self, slices: torch.Tensor) -> torch.Tensor:
        """Features before the dropout: the same in every Monte Carlo pass."""
        skips = []
        features = slices
        for level in self.encoder:
            skips.append(level(features))
            features = self.pool(skips[-1])
        features = self.bottom(features)
        for level, skip in zip(self.decoder, reversed(skips), strict=True):
            features = level(torch.cat([skip, self.upsample(features)], dim=1))
        return self.head(features)

    def from_prefix(self, prefix: torch.Tensor) -> torch.Tensor:
        """Logits of one pass."""
        return self.output(self.dropout(prefix))
