"""Additive attention gates (report 003), in 2D and 3D."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from SegDLEngine.networks.layers import LAYERS, upsample_linear


class AttentionGate(nn.Module):
    """Weighs a skip by how well it fits the coarser features g (half the sides): out = W(alpha * skip).

    alpha = sigmoid(psi(relu(theta(skip) + phi(g)))), one value in (0, 1) for each place, upsampled linearly;
    W is a 1x1 convolution with batch norm, a second one with ReLU follows.  The intermediate channels are
    the skip's.  Oktay et al., "Attention U-Net" (2018); the report's "sum of e^q = 1" would be a softmax, the
    published second nonlinearity is this sigmoid.
    """

    def __init__(self, dimensions: int, channels: int, gate_channels: int):
        super().__init__()
        layers = LAYERS[dimensions]
        self.theta = layers.convolution(channels, channels, 2, stride=2, bias=False)
        self.phi = layers.convolution(gate_channels, channels, 1)
        self.psi = layers.convolution(channels, 1, 1)
        self.weigh = nn.Sequential(layers.convolution(channels, channels, 1), layers.batch_norm(channels))
        self.combine = nn.Sequential(
            layers.convolution(channels, channels, 1), layers.batch_norm(channels), nn.ReLU(inplace=True)
        )

    def attention(self, skip: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
        """alpha (N, 1, ...) with the skip's sides."""
        fit = functional.relu(self.theta(skip) + self.phi(gate))
        return upsample_linear(torch.sigmoid(self.psi(fit)), 2)

    def forward(self, skip: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
        return self.combine(self.weigh(self.attention(skip, gate) * skip))
