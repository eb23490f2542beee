"""Mixup (Zhang et al. 2018), report 003: blend each image and its target with another one of the batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from SegDLTrainingLib.draws import seed_of

_MIXUP = 2


def mixup(
    images: torch.Tensor, targets: torch.Tensor, alpha: float, seed: int, number: int, rows: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (N, C, ...) and targets (N, outputs, ...) blended with those of the next row.

    The share kept is drawn from Beta(alpha, alpha) for every row; targets become soft but stay in 0..1.
    """
    shares = [np.random.default_rng(seed_of(seed, number, row, _MIXUP)).beta(alpha, alpha) for row in rows]
    share = torch.tensor(shares, dtype=images.dtype)

    def blend(maps: torch.Tensor) -> torch.Tensor:
        kept = share.view(-1, *(1,) * (maps.dim() - 1))
        return kept * maps + (1 - kept) * maps.roll(-1, 0)

    return blend(images), blend(targets)
