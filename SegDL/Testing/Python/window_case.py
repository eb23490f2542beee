"""Networks for tests of inference by windows, and how they are run."""

from __future__ import annotations

import numpy as np
import torch
from SegDLEngine.inference.predict import predict
from SegDLEngine.inference.runtime import Runtime
from SegDLEngine.networks.network import Network, dropout_layers
from SegDLEngine.networks.registry import build_network
from SegDLEngine.protocol import Reporter
from torch import nn

SETTINGS = {
    "mode": "windows",
    "patch": [16, 12, 8],
    "overlap": 0.25,
    "batch": 1,
    "activation": "sigmoid",
    "threshold": 0.5,
}


class Pointwise(Network):
    """A voxel's logit depends on that voxel alone, so windows must not be visible at all."""

    dimensions, divisible_by, receptive_field = 3, 4, 1

    def __init__(self, labels: int = 1, dropout: float = 0.0, kernel: int = 1, margin: int = 0):
        super().__init__()
        self.conv = nn.Conv3d(1, labels, kernel, padding=kernel // 2 - margin)
        self.dropout = nn.Dropout(dropout)
        with torch.no_grad():
            self.conv.weight.copy_(torch.linspace(-3, 3, self.conv.weight.numel()).view_as(self.conv.weight))
            self.conv.weight[:, 0, kernel // 2, kernel // 2, kernel // 2] += 4
            self.conv.bias.copy_(torch.linspace(-1, 0, labels))
        self.margin, self.report_input = margin, (1, 8, 8, 8)
        self.dropout_layers = dropout_layers(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.conv(self.dropout(images))


class Steep(Network):
    """Grows along i, so that mirror images are answered differently by an exactly known amount."""

    dimensions, divisible_by, receptive_field, report_input = 3, 1, 1, (1, 8, 8, 8)
    dropout_layers = ()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images * 0 + torch.linspace(-2, 2, images.shape[-1], dtype=images.dtype)


def runtime() -> Runtime:
    return Runtime(torch.device("cpu"))


def volume(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).random(shape, dtype=np.float32)


def whole(net: Network, channels: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return torch.sigmoid(net(torch.from_numpy(channels)[None]))[0].numpy()


def small_unet(**options) -> Network:
    torch.manual_seed(0)
    return build_network("unet3d_69k", {"in_channels": 1, **options}).eval()


def run(
    net: Network, channels: np.ndarray, samples: int = 0, seed: int = 0, mask=None, reporter=None, **changes
):
    reporter = reporter or Reporter()
    return predict(net, channels, {**SETTINGS, **changes}, runtime(), reporter, samples, seed, mask)
