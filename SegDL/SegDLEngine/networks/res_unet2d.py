"""The 2D ResU-Net of report 004: brain tumours in MRI slices of 64x64 pixels, with dropout everywhere.

Layout of the report's published code (Keras): filters, block counts and upsampling are its builder's options.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn
from torch.nn import functional

from SegDLEngine.networks.layers import initialise
from SegDLEngine.networks.network import Network, dropout_layers
from SegDLEngine.networks.reach import receptive_field

UPSAMPLINGS = ("transposed", "bilinear")


def _norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm with Keras' constants: eps 1e-3, momentum 0.99 of the old, so 0.01 of the new."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class ResidualBlock2d(nn.Module):
    """Two convolutions with batch norm, plus the input, ReLU; no biases.

    With ``convolve`` the input goes through a 1x1 convolution with batch norm, else it is added as it is.
    """

    def __init__(self, channels_in: int, width: int, *, convolve: bool):
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(channels_in, width, 3, padding=1, bias=False),
            _norm(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            _norm(width),
        )
        self.shortcut = (
            nn.Sequential(nn.Conv2d(channels_in, width, 1, bias=False), _norm(width))
            if convolve
            else nn.Identity()
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.convolutions(features) + self.shortcut(features))


class ChannelNorm2d(nn.LayerNorm):
    """Layer norm over the channels of each pixel, with a scale and shift for each channel."""

    def __init__(self, channels: int):
        super().__init__(channels, eps=1e-3)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)


class SameTransposedConv2d(nn.ConvTranspose2d):
    """Transposed 3x3 convolution that doubles the sides as Keras' 'same' does: no last row and column."""

    def __init__(self, channels_in: int, channels_out: int):
        super().__init__(channels_in, channels_out, 3, stride=2)

    def forward(self, input: torch.Tensor, output_size: list[int] | None = None) -> torch.Tensor:
        return super().forward(input, output_size)[..., :-1, :-1]


def _blocks(channels_in: int, width: int, count: int, dropout: float | None) -> list[nn.Module]:
    """A block with a convolved shortcut, then plain ones, each followed by dropout of whole channels."""
    blocks: list[nn.Module] = []
    for position in range(count):
        before = channels_in if position == 0 else width
        blocks.append(ResidualBlock2d(before, width, convolve=position == 0))
        if dropout is not None:
            blocks.append(nn.Dropout2d(dropout))
    return blocks


def _upsampling(kind: str, below: int, width: int) -> nn.Sequential:
    if kind == "transposed":
        return nn.Sequential(SameTransposedConv2d(below, width), nn.ReLU(inplace=True))
    return nn.Sequential(
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.Conv2d(below, width, 3, padding=1),
        nn.ReLU(inplace=True),
    )


class ResUNet2d(Network):
    """(N, in_channels, j, i) to logits (N, out_channels, j, i), sigmoid outside; sides divisible by 32.

    The defaults are the report's network with 6,854,609 parameters and 9,824 batch-norm statistics; inputs
    t1, t1ce, t2 and flair, each divided by its maximum.

    Each encoder level has its residual blocks, then a pooling; the skips are taken after the pooling, so the
    deepest features have 1/2^levels of the sides and there is no skip at full size.  Decoder: upsampling,
    [up, skip], layer norm over the channels, dropout, residual blocks.  Output: bilinear upsampling, 1x1
    convolution with ReLU, layer norm, residual blocks without dropout, 1x1 convolution.

    - ``filters``: channels of the levels; ``encoder_depths`` and ``decoder_depths``: their residual blocks;
    - ``output_depth``: residual blocks before the output;
    - ``upsampling``: "transposed" or "bilinear" (with a 3x3 convolution), in the decoder;
    - ``dropout``: rate of the channel dropout after every residual block and layer norm of both halves.
    """

    dimensions = 2

    def __init__(
        self,
        in_channels: int = 4,
        out_channels: int = 1,
        filters: Sequence[int] = (16, 32, 64, 128, 256),
        encoder_depths: Sequence[int] = (1, 2, 3, 4, 4),
        decoder_depths: Sequence[int] = (1, 1, 1, 1),
        output_depth: int = 2,
        upsampling: str = "transposed",
        dropout: float = 0.1,
    ):
        super().__init__()
        self._check(filters, encoder_depths, decoder_depths, upsampling)
        self.encoder = nn.ModuleList(
            nn.Sequential(*_blocks(before, width, count, dropout), nn.MaxPool2d(2))
            for before, width, count in zip([in_channels, *filters], filters, encoder_depths, strict=False)
        )
        widths = list(filters[-2::-1])
        self.up = nn.ModuleList(
            _upsampling(upsampling, below, width)
            for below, width in zip([filters[-1], *widths], widths, strict=False)
        )
        self.decoder = nn.ModuleList(
            nn.Sequential(
                ChannelNorm2d(2 * width), nn.Dropout2d(dropout), *_blocks(2 * width, width, count, dropout)
            )
            for width, count in zip(widths, decoder_depths, strict=True)
        )
        last = filters[0]
        self.output = nn.Sequential(
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.Conv2d(last, last, 1),
            nn.ReLU(inplace=True),
            ChannelNorm2d(last),
            *_blocks(last, last, output_depth, None),
            nn.Conv2d(last, out_channels, 1),
        )
        initialise(self, nn.init.xavier_uniform_)

        self.divisible_by = 2 ** len(filters)
        self.report_input = (in_channels, 64, 64)
        path = [step for count in encoder_depths for step in [*["conv3"] * (2 * count), "pool"]]
        step_up = ["transposed3same"] if upsampling == "transposed" else ["linear2", "conv3"]
        path += [step for count in decoder_depths for step in [*step_up, *["conv3"] * (2 * count)]]
        path += ["linear2", *["conv3"] * (2 * output_depth), "conv1"]
        self.receptive_field = receptive_field(path, self.divisible_by)
        self.dropout_layers = dropout_layers(self)

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        return self.from_prefix(self.shared_prefix(slices))

    def shared_prefix(self, slices: torch.Tensor) -> torch.Tensor:
        """Features of the first residual block: all that precedes the first dropout."""
        return self._first_level()[0](slices)

    def from_prefix(self, prefix: torch.Tensor) -> torch.Tensor:
        """Logits of one pass."""
        skips = [self._first_level()[1:](prefix)]
        for level in self.encoder[1:]:
            skips.append(level(skips[-1]))
        features = skips.pop()
        for up, level, skip in zip(self.up, self.decoder, reversed(skips), strict=True):
            features = level(torch.cat([up(features), skip], dim=1))
        return self.output(features)

    def _first_level(self) -> nn.Sequential:
        return cast("nn.Sequential", self.encoder[0])

    @staticmethod
    def _check(
        filters: Sequence[int],
        encoder_depths: Sequence[int],
        decoder_depths: Sequence[int],
        upsampling: str,
    ) -> None:
        if upsampling not in UPSAMPLINGS:
            raise TypeError(f"upsampling '{upsampling}' is none of {', '.join(UPSAMPLINGS)}")
        if len(encoder_depths) != len(filters) or min(encoder_depths) < 1:
            raise TypeError(f"encoder_depths needs {len(filters)} counts of at least 1, one for each filters")
        if len(decoder_depths) != len(filters) - 1 or len(filters) < 2:
            raise TypeError(f"decoder_depths needs {len(filters) - 1} counts, one less than filters")
