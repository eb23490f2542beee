"""The 3D network of report 002 with segmentation maps at three scales, for brain and hand MRI.

Layout of Kayalibay, Jensen, van der Smagt, "CNN-based Segmentation of Medical Imaging Data"
(arXiv 1701.03056, 2017) and their published code.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from SegDLEngine.networks.layers import he_normal, initialise, upsample_linear
from SegDLEngine.networks.network import Network, dropout_layers
from SegDLEngine.networks.reach import receptive_field

SKIPS = ("concat", "sum", None)

# The path through all levels: its nominal receptive fields are the 3, 5, 9, ... 73 of the published code.
PATH = (
    *("conv3", "conv3", "subsample") * 3,
    "conv3",
    *("conv1", "up", "conv3", "conv3") * 3,
    "conv1",
)


class NormAct(nn.Sequential):
    """Batch norm, then PReLU with one slope a channel.

    The published norm divides by deviation + 1e-5 and keeps running statistics with factor 0.5: here eps
    1e-10, equal where the deviation is 0 or large against 1e-5, and momentum 0.5.
    """

    def __init__(self, channels: int):
        super().__init__(nn.BatchNorm3d(channels, eps=1e-10, momentum=0.5), nn.PReLU(channels))


def convolution(channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> nn.Conv3d:
    """'Same' convolution without bias; stride 2 keeps the voxels 0, 2, 4, ..."""
    return nn.Conv3d(channels_in, channels_out, kernel, stride, padding=kernel // 2, bias=False)


class Upward(nn.Module):
    """One step up: 1x1x1 convolution, nearest upsampling with a convolution, the skip, a convolution."""

    def __init__(self, below: int, narrow: int, width: int, skip: int, out: int, skips: str | None):
        super().__init__()
        self.skips = skips
        self.narrow = nn.Sequential(convolution(below, narrow, 1), NormAct(narrow))
        self.up = nn.Sequential(nn.Upsample(scale_factor=2), convolution(narrow, width, 3), NormAct(width))
        joined = width + skip if skips == "concat" else width
        self.join = nn.Sequential(convolution(joined, out, 3), NormAct(out))

    def forward(self, skip: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
        features = self.up(self.narrow(below))
        if self.skips == "concat":
            features = torch.cat([skip, features], dim=1)
        elif self.skips == "sum":
            features = features + skip
        return self.join(features)


class MultiscaleCNN3d(Network):
    """(N, in_channels, k, j, i) to logits (N, out_channels, k, j, i), softmax outside; sides divisible by 8.

    The defaults are the published network with 410,072 parameters; its inputs are Flair, T1, T1c and T2, its
    classes background and four kinds of tumour tissue.

    - ``in_channels``: number of modalities; any subset can be used, the card names them;
    - ``skips``: long skips by "concat", by element-wise "sum", or None for no long skips;
    - ``maps``: 3 sums the segmentation maps of three scales, upsampled linearly; 1 uses the last alone.
    """

    dimensions = 3
    divisible_by = 8

    def __init__(
        self, in_channels: int = 4, out_channels: int = 5, skips: str | None = "concat", maps: int = 3
    ):
        super().__init__()
        if skips not in SKIPS:
            raise TypeError(f"skips '{skips}' is none of {', '.join(map(str, SKIPS))}")
        if maps not in (1, 3):
            raise TypeError(f"maps must be 1 or 3, found {maps}")
        self.entry = nn.Sequential(convolution(in_channels, 8, 3), NormAct(8))
        self.down = nn.ModuleList(
            [convolution(8, 8, 3, 2), convolution(16, 32, 3, 2), convolution(32, 64, 3, 2)]
        )
        self.before = nn.ModuleList([NormAct(8), NormAct(32), NormAct(64)])
        self.level = nn.ModuleList([convolution(8, 16, 3), convolution(32, 32, 3), convolution(64, 64, 3)])
        self.after = nn.ModuleList([NormAct(16), NormAct(32), NormAct(64)])
        self.upward = nn.ModuleList(
            [
                Upward(64, 32, 32, 32, 64, skips),
                Upward(64, 32, 16, 16, 32, skips),
                Upward(32, 16, 8, 8, 16, skips),
            ]
        )
        channels = [64, 32, 16][-maps:]
        self.maps = nn.ModuleList(convolution(features, out_channels, 1) for features in channels)
        initialise(self, he_normal)

        self.report_input = (in_channels, 128, 160, 144)
        self.receptive_field = receptive_field(PATH, self.divisible_by)
        self.dropout_layers = dropout_layers(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        skips = [self.entry(images)]
        for down, before, level, after in zip(self.down, self.before, self.level, self.after, strict=True):
            reduced = down(skips[-1])
            features = level(before(reduced))
            skips.append(after(features + _widened(reduced, features.shape[1])))
        features = skips.pop()
        scales = []
        for upward, skip in zip(self.upward, reversed(skips), strict=True):
            features = upward(skip, features)
            scales.append(features)
        return self._sum_of_maps(scales)

    def _sum_of_maps(self, scales: list[torch.Tensor]) -> torch.Tensor:
        first, *others = zip(self.maps, scales[-len(self.maps) :], strict=True)
        logits = first[0](first[1])
        for layer, features in others:
            logits = upsample_linear(logits, 2) + layer(features)
        return logits


def _widened(features: torch.Tensor, channels: int) -> torch.Tensor:
    """With channels of zeros appended."""
    return functional.pad(features, (0, 0, 0, 0, 0, 0, 0, channels - features.shape[1]))
