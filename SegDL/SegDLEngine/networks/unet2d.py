"""The original 2D U-Net of reports 002 and 003 (Ronneberger, Fischer, Brox, MICCAI 2015)."""

from __future__ import annotations

import torch
from torch import nn

from SegDLEngine.networks.layers import centre_crop, he_normal, initialise
from SegDLEngine.networks.network import Network, dropout_layers
from SegDLEngine.networks.reach import receptive_field


class UNet2d(Network):
    """(N, in_channels, j, i) to logits (N, out_channels, j', i'), softmax outside; 572 gives 388, or 'same'.

    The defaults are the published network with 31,030,658 parameters: 23 convolutions, two 3x3 with ReLU a
    level, transposed 2x2 convolutions, [skip, up].

    - ``padded``: False loses ``margin`` (92) pixels on each side and crops the skips to their centre, sides
      are 12 above a multiple of 16; True keeps the size, sides are multiples of 16;
    - ``filters``: channels of the first level, doubled at each of the ``depth`` levels;
    - ``dropout``: rate after the last two encoder levels (the first of these outputs is also a skip), as in
      the published network; the reports do not mention it.
    """

    dimensions = 2

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 2,
        padded: bool = False,
        filters: int = 64,
        depth: int = 5,
        dropout: float = 0.5,
    ):
        super().__init__()
        if depth < 2:
            raise TypeError(f"depth must be at least 2, found {depth}")
        widths = [filters * 2**level for level in range(depth)]

        def level(channels_in: int, width: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(channels_in, width, 3, padding=int(padded)),
                nn.ReLU(inplace=True),
                nn.Conv2d(width, width, 3, padding=int(padded)),
                nn.ReLU(inplace=True),
            )

        self.encoder = nn.ModuleList(
            level(before, width) for before, width in zip([in_channels, *widths], widths, strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        self.skip_dropout = nn.Dropout(dropout)
        self.bottom_dropout = nn.Dropout(dropout)
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * width, width, 2, stride=2) for width in widths[-2::-1])
        self.decoder = nn.ModuleList(level(2 * width, width) for width in widths[-2::-1])
        self.output = nn.Conv2d(filters, out_channels, 1)
        initialise(self, he_normal)

        self.divisible_by = 2 ** (depth - 1)
        # Every level takes two pixels from each side, at its own spacing, on the way down and up.
        self.margin = 0 if padded else 2 * (2**depth - 1) + 2 * (2 ** (depth - 1) - 1)
        self.remainder = 0 if padded else -4 % self.divisible_by
        self.report_input = (in_channels, 512, 512) if padded else (in_channels, 572, 572)
        down = ["conv3", "conv3"] + ["pool", "conv3", "conv3"] * (depth - 1)
        up = ["up", "conv3", "conv3"] * (depth - 1)
        self.receptive_field = receptive_field([*down, *up, "conv1"], self.divisible_by)
        self.dropout_layers = dropout_layers(self)

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        return self.from_prefix(self.shared_prefix(slices))

    def shared_prefix(self, slices: torch.Tensor) -> list[torch.Tensor]:
        """Outputs of all encoder levels but the bottom one: they precede the dropout layers."""
        outputs = [self.encoder[0](slices)]
        for level in self.encoder[1:-1]:
            outputs.append(level(self.pool(outputs[-1])))
        return outputs

    def from_prefix(self, prefix: list[torch.Tensor]) -> torch.Tensor:
        """Logits of one pass."""
        *skips, last = prefix
        skips.append(self.skip_dropout(last))
        features = self.bottom_dropout(self.encoder[-1](self.pool(skips[-1])))
        for up, level, skip in zip(self.up, self.decoder, reversed(skips), strict=True):
            above = up(features)
            features = level(torch.cat([centre_crop(skip, above.shape[2:]), above], dim=1))
        return self.output(features)
