"""The 2D U-Net of report 001: slice-wise segmentation of lung tumours in CT.

Layout of the network that Primakov et al. (Nature Communications 2022, "Automated detection and
segmentation of non-small cell lung cancer computed tomography images") published with DuneAI.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from SegDLEngine.networks.blocks import ConcatConvUnit, ConvUnit, SameConv2d
from SegDLEngine.networks.network import Network, dropout_layers
from SegDLEngine.networks.reach import receptive_field


class Decoder(nn.Module):
    """One step up: nearest upsampling, convolution 2x2, [skip, up], two convolutions 3x3."""

    def __init__(self, below: int, width: int, norm: str | None):
        super().__init__()
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.up = ConvUnit(below, width, 2, norm)
        self.first = ConcatConvUnit(width, width, width, 3, norm)
        self.second = ConvUnit(width, width, 3, norm)

    def forward(self, skip: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
        up = self.up(self.upsample(below))
        return self.second(self.first(torch.cat([skip, up], dim=1)))

    def from_skip_part(self, part: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
        """The same from the skip's share of the first convolution."""
        up = self.up(self.upsample(below))
        return self.second(self.first.add_up_part(part, up))


@dataclass(frozen=True)
class SharedPrefix:
    """What every Monte Carlo pass has in common: features before the first dropout, and skip shares."""

    features: torch.Tensor
    skip_parts: tuple[torch.Tensor, ...]


class LungUNet2d(Network):
    """2D U-Net; (N, in_channels, j, i) to logits (N, out_channels, j, i), sigmoid or softmax outside.

    The defaults are the report's network with 31,031,685 parameters.  Its input is the harmonised CT in
    25 HU bins, 0..45.

    - ``in_channels``: neighbouring slices as channels, or several inputs;
    - ``filters``: channels of the first level, doubled at each of the ``depth`` levels up to
      ``max_filters``;
    - ``dropout``: rate after the last two encoder levels (the first of these outputs is also a skip);
    - ``normalisation``: None (report), "batch", "instance" or "group", after each convolution but the head's;
    - ``head_channels``: channels of the last 3x3 convolution with ReLU (report: 2).
    """

    dimensions = 2

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        filters: int = 64,
        depth: int = 5,
        max_filters: int | None = None,
        dropout: float = 0.5,
        normalisation: str | None = None,
        head_channels: int = 2,
    ):
        super().__init__()
        if depth < 2:
            raise TypeError(f"depth must be at least 2, found {depth}")
        widths = [min(filters * 2**level, max_filters or filters * 2**level) for level in range(depth)]
        self.encoder = nn.ModuleList(
            nn.Sequential(ConvUnit(before, width, 3, normalisation), ConvUnit(width, width, 3, normalisation))
            for before, width in zip([in_channels, *widths], widths, strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        self.skip_dropout = nn.Dropout(dropout)
        self.bottom_dropout = nn.Dropout(dropout)
        self.decoder = nn.ModuleList(
            Decoder(below, width, normalisation)
            for below, width in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = ConvUnit(widths[0], head_channels, 3)
        self.output = SameConv2d(head_channels, out_channels, 1)

        self.divisible_by = 2 ** (depth - 1)
        self.report_input = (in_channels, 512, 512)
        down = ["conv3", "conv3"] + ["pool", "conv3", "conv3"] * (depth - 1)
        up = ["up", "conv2", "conv3", "conv3"] * (depth - 1)
        self.receptive_field = receptive_field([*down, *up, "conv3", "conv1"], self.divisible_by)
        self.dropout_layers = dropout_layers(self)

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        *skips, last = self._before_dropout(slices)
        skip, below = self._drop_and_descend(last)
        for decoder, features in zip(self.decoder, [skip, *reversed(skips)], strict=True):
            below = decoder(features, below)
        return self.output(self.head(below))

    def shared_prefix(self, slices: torch.Tensor) -> SharedPrefix:
        """All that precedes or bypasses the dropout layers; compute it once, then ``from_prefix``."""
        *skips, last = self._before_dropout(slices)
        steady = zip(self._decoders()[1:], reversed(skips), strict=True)
        return SharedPrefix(last, tuple(decoder.first.skip_part(skip) for decoder, skip in steady))

    def from_prefix(self, prefix: SharedPrefix) -> torch.Tensor:
        """Logits of one pass: equal to ``forward`` but for rounding, given the same dropout masks."""
        skip, below = self._drop_and_descend(prefix.features)
        first, *others = self._decoders()
        below = first(skip, below)
        for decoder, part in zip(others, prefix.skip_parts, strict=True):
            below = decoder.from_skip_part(part, below)
        return self.output(self.head(below))

    def _decoders(self) -> list[Decoder]:
        return cast("list[Decoder]", list(self.decoder))

    def _before_dropout(self, slices: torch.Tensor) -> list[torch.Tensor]:
        """Outputs of all encoder levels but the bottom one."""
        outputs = [self.encoder[0](slices)]
        for level in self.encoder[1:-1]:
            outputs.append(level(self.pool(outputs[-1])))
        return outputs

    def _drop_and_descend(self, last: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The lowest skip and the bottom's features, both after dropout."""
        skip = self.skip_dropout(last)
        return skip, self.bottom_dropout(self.encoder[-1](self.pool(skip)))
