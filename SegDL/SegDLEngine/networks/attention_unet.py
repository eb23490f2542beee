"""The Attention U-Net in 2D and 3D (report 003).

Oktay et al., "Attention U-Net: Learning Where to Look for the Pancreas" (MIDL 2018) and the published code.
"""

from __future__ import annotations

import torch
from torch import nn

from SegDLEngine.networks.blocks_attention import AttentionGate
from SegDLEngine.networks.layers import LAYERS, features_of_levels, he_normal, initialise, upsample_linear
from SegDLEngine.networks.network import Network, dropout_layers
from SegDLEngine.networks.reach import receptive_field

LEVELS = 5


class AttentionUNet(Network):
    """(N, in_channels, ...) to logits (N, out_channels, ...), softmax outside; sides divisible by 16.

    Levels of two convolutions (bias, batch norm, ReLU) with ``filters``, doubled at each of the four
    poolings; linear upsampling, [skip, up].  Attention gates weigh the skips of all levels but the first;
    the next coarser features are the gating signal, for the lowest a 1x1 convolution of the bottom.

    ``deep_supervision``: the output sums up, by a 1x1 convolution, the maps of all four decoder levels;
    False takes the last level's alone.
    """

    divisible_by = 2 ** (LEVELS - 1)

    def __init__(
        self, dimensions: int, in_channels: int, out_channels: int, filters: int, deep_supervision: bool
    ):
        super().__init__()
        self.dimensions = dimensions
        layers = LAYERS[dimensions]
        widths = [filters * 2**level for level in range(LEVELS)]

        def unit(channels_in: int, width: int, kernel: int) -> list[nn.Module]:
            return [
                layers.convolution(channels_in, width, kernel, padding=kernel // 2),
                layers.batch_norm(width),
                nn.ReLU(inplace=True),
            ]

        def level(channels_in: int, width: int) -> nn.Sequential:
            return nn.Sequential(*unit(channels_in, width, 3), *unit(width, width, 3))

        self.encoder = nn.ModuleList(
            level(before, width) for before, width in zip([in_channels, *widths], widths, strict=False)
        )
        self.pool = layers.max_pool(2)
        self.gating = nn.Sequential(*unit(widths[-1], widths[-1], 1))
        self.gates = nn.ModuleList(AttentionGate(dimensions, width, 2 * width) for width in widths[-2:0:-1])
        self.decoder = nn.ModuleList(level(3 * width, width) for width in widths[-2::-1])
        mapped = widths[-2::-1] if deep_supervision else widths[:1]
        self.maps = nn.ModuleList(layers.convolution(width, out_channels, 1) for width in mapped)
        self.output = (
            layers.convolution(len(mapped) * out_channels, out_channels, 1)
            if deep_supervision
            else nn.Identity()
        )
        initialise(self, he_normal)

        down = ["conv3", "conv3"] + ["pool", "conv3", "conv3"] * (LEVELS - 1)
        up = ["linear2", "conv3", "conv3"] * (LEVELS - 1)
        self.receptive_field = receptive_field([*down, *up, "conv1"], self.divisible_by)
        self.dropout_layers = dropout_layers(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        skips = features_of_levels(self.encoder, self.pool, images)
        features = skips.pop()
        gate = self.gating(features)
        scales = []
        for position, level in enumerate(self.decoder):
            skip = skips.pop()
            if position < len(self.gates):
                skip = self.gates[position](skip, gate)
            features = gate = level(torch.cat([skip, upsample_linear(features, 2)], dim=1))
            scales.append(features)
        return self._output(scales[-len(self.maps) :])

    def _output(self, scales: list[torch.Tensor]) -> torch.Tensor:
        """The maps of the scales at full size, finest first, through the output convolution."""
        logits = [layer(features) for layer, features in zip(self.maps, scales, strict=True)]
        coarse = [
            upsample_linear(low, 2 ** (len(logits) - 1 - position))
            for position, low in enumerate(logits[:-1])
        ]
        return self.output(torch.cat([logits[-1], *reversed(coarse)], dim=1))
