"""What every network of SegDL tells about itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Network(nn.Module):
    """A module from images (N, C, ...) to logits (N, classes, ...) of the same size, less the margin.

    3D tensors are (N, C, k, j, i), 2D ones (N, C, j, i).

    - ``dimensions``: 2 or 3;
    - ``divisible_by``: the sides of its input must be multiples of it, plus ``remainder``;
    - ``remainder``: 0 but for some unpadded networks;
    - ``margin``: voxels that unpadded convolutions take from each side of the image: the output's centre
      is the input's, its sides are shorter by twice the margin;
    - ``receptive_field``: side (voxels) of the region that one output voxel depends on;
    - ``dropout_layers``: names of its dropout modules, possibly none;
    - ``report_input``: shape (C, ...) of the input in the network's report.

    Monte Carlo dropout calls ``shared_prefix`` once and ``from_prefix`` for every pass.  A network overrides
    both to compute only once what no dropout touches; the one after the other equals ``forward``.
    """

    dimensions: int
    divisible_by: int
    remainder: int = 0
    margin: int = 0
    receptive_field: int
    dropout_layers: tuple[str, ...]
    report_input: tuple[int, ...]

    def shared_prefix(self, images: torch.Tensor) -> Any:
        return images

    def from_prefix(self, prefix: Any) -> torch.Tensor:
        return self(prefix)


def dropout_layers(network: nn.Module) -> tuple[str, ...]:
    """Names of the network's dropout modules, in the order of its definition."""
    kinds = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
    return tuple(name for name, module in network.named_modules() if isinstance(module, kinds))
