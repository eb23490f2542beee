"""InputCascadeCNN of report 002: a TwoPathCNN that also sees the probabilities of a first one.

Havaei et al., "Brain tumor segmentation with Deep Neural Networks", Medical Image Analysis 2017
(arXiv 1505.03540).
"""

from __future__ import annotations

import torch

from SegDLEngine.networks.layers import centre_crop
from SegDLEngine.networks.network import Network, dropout_layers
from SegDLEngine.networks.two_path_cnn import TwoPathCNN


class InputCascadeCNN(Network):
    """(N, in_channels, j, i) to logits (N, out_channels, j - 64, i - 64), softmax outside; any size from 65.

    The defaults have 1,921,034 parameters in both networks (the second: 802,368 as printed).  The ``first``
    network's probabilities, 16 pixels shorter on each side, join the images' centre as input channels of the
    ``second``: 65x65 gives 33x33 probabilities gives one pixel.

    - ``filters``, ``dropout``: of either network, see ``two_path_cnn``.

    ``first`` is trained alone, then stays as it is while ``second`` is trained; in the second phase of either
    only its layer ``output`` changes.
    """

    dimensions = 2
    divisible_by = 1
    margin = 2 * TwoPathCNN.margin
    receptive_field = 2 * TwoPathCNN.receptive_field - 1

    def __init__(
        self,
        in_channels: int = 4,
        out_channels: int = 5,
        filters: tuple[int, int] = (64, 160),
        dropout: float = 0.0,
    ):
        super().__init__()
        self.first = TwoPathCNN(in_channels, out_channels, filters, dropout)
        self.second = TwoPathCNN(in_channels + out_channels, out_channels, filters, dropout)
        self.report_input = (in_channels, 65, 65)
        self.dropout_layers = dropout_layers(self)

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        return self.second(self.second_input(slices))

    def second_input(self, slices: torch.Tensor) -> torch.Tensor:
        """The images' centre and the first network's probabilities (N, in + out, j - 32, i - 32)."""
        probabilities = self.first(slices).softmax(dim=1)
        return torch.cat([centre_crop(slices, probabilities.shape[2:]), probabilities], dim=1)
