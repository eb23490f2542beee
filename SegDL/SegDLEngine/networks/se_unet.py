"""The frame that report 000's SE networks share: five levels, a decoder, the upsampling pathway."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from SegDLEngine.networks.blocks_se import SEConv3d, Unit
from SegDLEngine.networks.layers import features_of_levels, he_normal, initialise, upsample_linear
from SegDLEngine.networks.network import Network, dropout_layers
from SegDLEngine.networks.reach import receptive_field

LEVELS = 5


class DecoderStage(Unit):
    """Transposed convolution, [up, skip], SE convolution, the pathway's sum, SE convolution, ``tail``."""

    def __init__(self, below: int, width: int, normalisation: str, tail: Sequence[Unit]):
        super().__init__()
        self.up = nn.ConvTranspose3d(below, width, 3, stride=2, padding=1, output_padding=1)
        self.first = SEConv3d(2 * width, width, 3, normalisation)
        self.second = SEConv3d(width, width, 3, normalisation)
        self.tail = nn.Sequential(*tail)
        self.reach = ("transposed3", *self.first.reach, *self.second.reach, *_reach(tail))

    def forward(
        self, skip: torch.Tensor, below: torch.Tensor, pathway: torch.Tensor | None = None
    ) -> torch.Tensor:
        features = self.first(torch.cat([self.up(below), skip], dim=1))
        if pathway is not None:
            features = features + pathway
        return self.tail(self.second(features))


class SEUNet3d(Network):
    """(N, in_channels, k, j, i) to logits (N, out_channels, k, j, i), sigmoid outside; sides divisible by 16.

    ``encoder_units(level, channels_in, width, normalisation)`` gives the units of encoder level 0..4,
    ``decoder_tail(level, width, normalisation)`` what follows the SE convolutions of decoder level 3..0.
    With ``pathway`` the outputs of decoder levels 3..1 go through a 1x1x1 SE convolution, are upsampled
    linearly to full size and enter, summed, between the two SE convolutions of the last level.
    """

    dimensions = 3
    divisible_by = 2 ** (LEVELS - 1)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        filters: int,
        pathway: bool,
        normalisation: str,
        encoder_units: Callable[[int, int, int, str], list[Unit]],
        decoder_tail: Callable[[int, int, str], list[Unit]],
    ):
        super().__init__()
        widths = [filters * 2**level for level in range(LEVELS)]
        levels = [
            encoder_units(level, before, width, normalisation)
            for level, (before, width) in enumerate(zip([in_channels, *widths], widths, strict=False))
        ]
        self.encoder = nn.ModuleList(nn.Sequential(*units) for units in levels)
        self.pool = nn.MaxPool3d(2)
        stages = [
            DecoderStage(
                widths[level + 1],
                widths[level],
                normalisation,
                decoder_tail(level, widths[level], normalisation),
            )
            for level in reversed(range(LEVELS - 1))
        ]
        self.decoder = nn.ModuleList(stages)
        self.pathway = (
            nn.ModuleList(SEConv3d(width, filters, 1, normalisation) for width in widths[-2:0:-1])
            if pathway
            else None
        )
        self.output = nn.Conv3d(filters, out_channels, 1)
        initialise(self, he_normal)

        self.report_input = (in_channels, 144, 144, 144)
        down = [step for units in levels for step in (*_reach(units), "pool")][:-1]
        up = [step for stage in stages for step in stage.reach]
        self.receptive_field = receptive_field([*down, *up, "conv1"], self.divisible_by)
        self.dropout_layers = dropout_layers(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        skips = features_of_levels(self.encoder, self.pool, images)
        below = skips.pop()
        total: torch.Tensor | None = None
        for position, (stage, skip) in enumerate(zip(self.decoder, reversed(skips), strict=True)):
            below = stage(skip, below, total if skip is skips[0] else None)
            if self.pathway is not None and position < len(self.pathway):
                branch = upsample_linear(self.pathway[position](below), 2 ** (len(skips) - 1 - position))
                total = branch if total is None else total.add_(branch)
        return self.output(below)


def _reach(units: Sequence[Unit]) -> list[str]:
    return [step for unit in units for step in unit.reach]
