"""Losses of report 001: Dice and binary cross-entropy, with Dice privileged at first.

Predictions are logits (N, L, ...), targets 0 or 1 of the same shape.  The Dice is finite on empty slices.
Its sums run over the whole batch, where a small tumour beside large ones hardly counts, or over each slice
apart, where all slices count alike and a false positive in an empty slice costs as much as a missed tumour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

SMOOTH = 1.0


def soft_dice(
    probabilities: torch.Tensor, target: torch.Tensor, smooth: float = SMOOTH, per_slice: bool = False
) -> torch.Tensor:
    """(2 |P T| + s) / (|P| + |T| + s), 0..1; 1 when both are empty.

    Over the batch and all voxels, or with ``per_slice`` the mean of the slices' own.
    """
    axes = tuple(range(1 if per_slice else 0, target.dim()))
    overlap = (probabilities * target).sum(dim=axes)
    return ((2 * overlap + smooth) / (probabilities.sum(dim=axes) + target.sum(dim=axes) + smooth)).mean()


def dice_cross_entropy(
    logits: torch.Tensor,
    target: torch.Tensor,
    dice_weight: float,
    cross_entropy_weight: float,
    per_slice: bool = False,
) -> torch.Tensor:
    """dice_weight * (1 - Dice) + cross_entropy_weight * mean binary cross-entropy."""
    dice = soft_dice(torch.sigmoid(logits), target, per_slice=per_slice)
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, target)
    return dice_weight * (1 - dice) + cross_entropy_weight * cross_entropy


@dataclass(frozen=True)
class PrivilegedDice:
    """The report's loss: weights ``first`` (Dice, cross-entropy) before epoch ``privileged_epochs``, then
    ``after``.  The report names no numbers but the 50 epochs; these defaults are ours."""

    first: Sequence[float] = (0.75, 0.25)
    after: Sequence[float] = (0.5, 0.5)
    privileged_epochs: int = 50
    per_slice: bool = False

    def __call__(self, logits: torch.Tensor, target: torch.Tensor, epoch: int) -> torch.Tensor:
        dice, cross_entropy = self.first if epoch < self.privileged_epochs else self.after
        return dice_cross_entropy(logits, target, dice, cross_entropy, self.per_slice)
