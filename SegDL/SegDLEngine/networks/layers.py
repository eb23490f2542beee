"""Layers by number of dimensions, so that the 2D and 3D forms of a network share one text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn


class Layers(NamedTuple):
    """The layer classes of one number of dimensions, and the name of its linear interpolation."""

    convolution: Callable[..., nn.Module]
    transposed: Callable[..., nn.Module]
    batch_norm: type[nn.BatchNorm2d] | type[nn.BatchNorm3d]
    max_pool: Callable[..., nn.Module]
    linear: str


LAYERS = {
    2: Layers(nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.MaxPool2d, "bilinear"),
    3: Layers(nn.Conv3d, nn.ConvTranspose3d, nn.BatchNorm3d, nn.MaxPool3d, "trilinear"),
}


class InstanceNorm(nn.Module):
    """Each channel of each image to mean 0 and deviation 1; any number of dimensions, no running statistics.

    Computed as group norm with one channel a group: the same numbers, faster on a CPU.  A single voxel,
    which has no deviation, becomes 0 (the layer of torch refuses it), so the smallest inputs pass.
    """

    def __init__(self, channels: int, *, affine: bool = False, eps: float = 1e-5):
        super().__init__()
        self.channels = channels
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return torch.group_norm(features, self.channels, self.weight, self.bias, self.eps)


def features_of_levels(levels: nn.ModuleList, pool: nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    """What each level of an encoder gives, the finest first; the others see the pooled one before."""
    found = [levels[0](images)]
    for level in levels[1:]:
        found.append(level(pool(found[-1])))
    return found


def upsample_linear(features: torch.Tensor, factor: int) -> torch.Tensor:
    """Linear upsampling of all spatial axes, voxel edges aligned."""
    mode = LAYERS[features.dim() - 2].linear
    return nn.functional.interpolate(features, scale_factor=factor, mode=mode, align_corners=False)


def centre_crop(features: torch.Tensor, sides: torch.Size) -> torch.Tensor:
    """The middle of the spatial axes, with the given sides."""
    for axis, side in enumerate(sides, start=2):
        features = features.narrow(axis, (features.shape[axis] - side) // 2, side)
    return features


def he_normal(weight: torch.Tensor) -> None:
    """The initialisation for convolutions that ReLUs follow."""
    nn.init.kaiming_normal_(weight, nonlinearity="relu")


def initialise(network: nn.Module, weights: Callable[[torch.Tensor], Any]) -> None:
    """Fill the kernels of all convolutions with ``weights``, their biases with 0."""
    kinds = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    for module in network.modules():
        if isinstance(module, kinds):
            weights(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
