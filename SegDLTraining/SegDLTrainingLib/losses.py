"""Losses of report 001: Dice and binary cross-entropy, with Dice privileged at first.

Predictions are logits (N, L, ...), targets 0 or 1 of the same shape.  Sums run over the whole batch, so a
batch of empty slices has a finite loss and its gradient comes from the cross-entropy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

SMOOTH = 1.0


def soft_dice(probabilities: torch.Tensor, target: torch.Tensor, smooth: float = SMOOTH) -> torch.Tensor:
    """(2 |P T| + s) / (|P| + |T| + s) over the batch and all voxels, 0..1; 1 when both are empty."""
    overlap = (probabilities * target).sum()
    return (2 * overlap + smooth) / (probabilities.sum() + target.sum() + smooth)


def dice_cross_entropy(
    logits: torch.Tensor, target: torch.Tensor, dice_weight: float, cross_entropy_weight: float
) -> torch.Tensor:
    """dice_weight * (1 - Dice) + cross_entropy_weight * mean binary cross-entropy."""
    dice = soft_dice(torch.sigmoid(logits), target)
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, target)
    return dice_weight * (1 - dice) + cross_entropy_weight * cross_entropy


@dataclass(frozen=True)
class PrivilegedDice:
    """The report's loss: weights ``first`` (Dice, cross-entropy) before epoch ``privileged_epochs``, then
    ``after``.  The report names no numbers but the 50 epochs; these defaults are ours."""

    first: Sequence[float] = (0.75, 0.25)
    after: Sequence[float] = (0.5, 0.5)
    privileged_epochs: int = 50

    def __call__(self, logits: torch.Tensor, target: torch.Tensor, epoch: int) -> torch.Tensor:
        weights = self.first if epoch < self.privileged_epochs else self.after
        return dice_cross_entropy(logits, target, *weights)
