"""Mixup (Zhang et al. 2018), report 003: blend each image and its target with another one of the batch.

The other one is the next row of the whole batch, whichever part of the batch is computed here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from SegDLTrainingLib.draws import seed_of

_MIXUP = 2


def rows_to_mix(rows: Sequence[int], size: int) -> list[int]:
    """``rows`` of a batch of ``size``, then those that they are blended with and that are not among them."""
    following = [_next(row, size) for row in rows]
    return [*rows, *(row for row in following if row not in rows)]


def mixup(
    images: torch.Tensor,
    targets: torch.Tensor,
    alpha: float,
    seed: int,
    number: int,
    rows: Sequence[int],
    size: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (N, C, ...) and targets (N, outputs, ...) of ``rows``, blended with the next row of the batch.

    Given are those of ``rows_to_mix``.  The share kept is drawn from Beta(alpha, alpha) for every row;
    targets become soft but stay in 0..1.
    """
    given = rows_to_mix(rows, size)
    others = [given.index(_next(row, size)) for row in rows]
    shares = [np.random.default_rng(seed_of(seed, number, row, _MIXUP)).beta(alpha, alpha) for row in rows]
    share = torch.tensor(shares, dtype=images.dtype)

    def blend(maps: torch.Tensor) -> torch.Tensor:
        kept = share.view(-1, *(1,) * (maps.dim() - 1))
        return kept * maps[: len(rows)] + (1 - kept) * maps[others]

    return blend(images), blend(targets)


def _next(row: int, size: int) -> int:
    return (row + 1) % size
