"""TwoPathCNN of report 002: a local and a global path side by side, for brain MRI slices.

Havaei et al., "Brain tumor segmentation with Deep Neural Networks", Medical Image Analysis 2017
(arXiv 1505.03540).
"""

from __future__ import annotations

import torch
from torch import nn

from SegDLEngine.networks.layers import initialise
from SegDLEngine.networks.network import Network, dropout_layers

PIECES = 2


class MaxoutConv2d(nn.Module):
    """Unpadded convolution whose every channel is the maximum of ``PIECES`` linear maps."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int):
        super().__init__()
        self.conv = nn.Conv2d(channels_in, PIECES * channels_out, kernel)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.conv(features).unflatten(1, (-1, PIECES)).amax(dim=2)


def counted_weights(network: nn.Module) -> int:
    """Weights as the paper prints them: no biases, the pieces of a maxout counted once."""
    maxout = sum(layer.conv.weight.numel() for layer in network.modules() if isinstance(layer, MaxoutConv2d))
    every = sum(layer.weight.numel() for layer in network.modules() if isinstance(layer, nn.Conv2d))
    return every - maxout + maxout // PIECES


class TwoPathCNN(Network):
    """(N, in_channels, j, i) to logits (N, out_channels, j - 32, i - 32), softmax outside; any size from 33.

    The defaults have 809,637 parameters (651,488 as printed); the inputs are T1, T1c, T2 and Flair.  All
    convolutions are unpadded and all strides 1, so one 33x33 patch gives one pixel and a whole slice all
    of its pixels but a ``margin`` of 16.

    - ``filters``: channels of the local and of the global path;
    - ``dropout``: rate before the output; 0 leaves the layer out.  The paper uses dropout but gives neither
      place nor rate.

    Two-phase training retrains the layer ``output`` alone in its second phase.
    """

    dimensions = 2
    divisible_by = 1
    margin = 16
    receptive_field = 33

    def __init__(
        self,
        in_channels: int = 4,
        out_channels: int = 5,
        filters: tuple[int, int] = (64, 160),
        dropout: float = 0.0,
    ):
        super().__init__()
        narrow, wide = filters
        self.local_path = nn.Sequential(
            MaxoutConv2d(in_channels, narrow, 7),
            nn.MaxPool2d(4, stride=1),
            MaxoutConv2d(narrow, narrow, 3),
            nn.MaxPool2d(2, stride=1),
        )
        self.global_path = MaxoutConv2d(in_channels, wide, 13)
        self.dropout = nn.Dropout2d(dropout) if dropout > 0 else nn.Identity()
        self.output = nn.Conv2d(narrow + wide, out_channels, 21)
        initialise(self, lambda weight: nn.init.uniform_(weight, -0.005, 0.005))

        self.report_input = (in_channels, 33, 33)
        self.dropout_layers = dropout_layers(self)

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        return self.from_prefix(self.shared_prefix(slices))

    def shared_prefix(self, slices: torch.Tensor) -> torch.Tensor:
        """Features of both paths, before any dropout."""
        return torch.cat([self.local_path(slices), self.global_path(slices)], dim=1)

    def from_prefix(self, prefix: torch.Tensor) -> torch.Tensor:
        """Logits of one pass."""
        return self.output(self.dropout(prefix))
