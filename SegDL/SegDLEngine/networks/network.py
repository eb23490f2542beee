"""What every network of SegDL tells about itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Network(nn.Module):
    """A module from images (N, C, ...) to logits (N, classes, ...) of the same size.

    - ``dimensions``: 2 or 3;
    - ``divisible_by``: the sides of its input must be multiples of it;
    - ``receptive_field``: side (voxels) of the region that one output voxel depends on;
    - ``dropout_layers``: names of its dropout modules, possibly none;
    - ``report_input``: shape (C, ...) of the input in the network's report.

    Monte Carlo dropout calls ``shared_prefix`` once and ``from_prefix`` for every pass.  A network overrides
    both to compute only once what no dropout touches; the one after the other equals ``forward``.
    """

    dimensions: int
    divisible_by: int
    receptive_field: int
    dropout_layers: tuple[str, ...]
    report_input: tuple[int, ...]

    def shared_prefix(self, images: torch.Tensor) -> Any:
        return images

    def from_prefix(self, prefix: Any) -> torch.Tensor:
        return self(prefix)
