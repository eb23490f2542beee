"""The small 3D U-Net of report 002: "20 layers, about 69,000 parameters"."""

from __future__ import annotations

import torch
from torch import nn

from SegDLEngine.networks.layers import he_normal, initialise
from SegDLEngine.networks.network import Network, dropout_layers
from SegDLEngine.networks.reach import receptive_field

FILTERS = (10, 20, 40)


def _unit(channels_in: int, width: int) -> nn.Sequential:
    """Convolution, ReLU, batch norm: as an activation inside a Keras convolution makes it."""
    return nn.Sequential(
        nn.Conv3d(channels_in, width, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.BatchNorm3d(width, eps=1e-3, momentum=0.01),
    )


class UNet3d69k(Network):
    """(N, in_channels, k, j, i) to logits (N, out_channels, k, j, i), sigmoid outside; sides divisible by 4.

    The report gives no layout.  This one has 20 Keras layers and 68,891 parameters for the four modalities
    of BraTS (68,081 for one): 10, 20 and 40 filters, one convolution a level, dropout after the two encoder
    levels (and so on the skips), nearest upsampling, [up, skip].  ReLU inside the convolution, the rate of
    the ``dropout`` and Keras' constants of the batch norm are part of that reading.
    """

    dimensions = 3
    divisible_by = 4

    def __init__(self, in_channels: int = 4, out_channels: int = 1, dropout: float = 0.2):
        super().__init__()
        first, second, third = FILTERS
        self.encoder = nn.ModuleList([_unit(in_channels, first), _unit(first, second)])
        self.dropout = nn.ModuleList([nn.Dropout3d(dropout), nn.Dropout3d(dropout)])
        self.pool = nn.MaxPool3d(2)
        self.bottom = _unit(second, third)
        self.upsample = nn.Upsample(scale_factor=2)
        self.decoder = nn.ModuleList([_unit(third + second, second), _unit(second + first, first)])
        self.output = nn.Conv3d(first, out_channels, 1)
        initialise(self, he_normal)

        self.report_input = (in_channels, 32, 32, 32)
        path = ["conv3", "pool"] * 2 + ["conv3"] + ["up", "conv3"] * 2 + ["conv1"]
        self.receptive_field = receptive_field(path, self.divisible_by)
        self.dropout_layers = dropout_layers(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.from_prefix(self.shared_prefix(images))

    def shared_prefix(self, images: torch.Tensor) -> torch.Tensor:
        """Features of the first level, before its dropout."""
        return self.encoder[0](images)

    def from_prefix(self, prefix: torch.Tensor) -> torch.Tensor:
        """Logits of one pass."""
        upper = self.dropout[0](prefix)
        lower = self.dropout[1](self.encoder[1](self.pool(upper)))
        features = self.bottom(self.pool(lower))
        for level, skip in zip(self.decoder, (lower, upper), strict=True):
            features = level(torch.cat([self.upsample(features), skip], dim=1))
        return self.output(features)
