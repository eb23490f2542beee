"""Soft Dice losses.

Predictions are probabilities (N, outputs, ...), targets of the same shape.  ``per`` says over what the sums
run before the ratio is taken: "batch" (all rows and outputs together, where a small tumour beside large ones
hardly counts), "sample" (each row apart, where all rows count alike and a false positive in an empty one
costs as much as a missed tumour), "label" (each output over all rows) or "sample and label".  Ratios are
then averaged.
"""

from __future__ import annotations

import torch

from SegDLTrainingLib.losses.reduction import over_batch

SMOOTH = 1.0
AXES = {"batch": (0, 1), "label": (0,), "sample": (1,), "sample and label": ()}


def soft_dice(
    predicted: torch.Tensor,
    target: torch.Tensor,
    smooth: float = SMOOTH,
    per: str = "batch",
    squared: bool = False,
    background: bool = True,
) -> torch.Tensor:
    """Mean of (2 |P T| + s) / (|P| + |T| + s), 0..1; 1 when both are empty, whatever ``smooth`` s is.

    ``squared``: the denominator sums squares of both.  ``background`` false leaves the first output out.
    """
    if not background:
        predicted, target = predicted[:, 1:], target[:, 1:]
    axes = (*AXES[per], *range(2, target.dim()))
    sizes = predicted**2 + target**2 if squared else predicted + target
    overlap, size = (predicted * target).sum(dim=axes), sizes.sum(dim=axes)
    if 0 in axes:
        overlap, size = over_batch(overlap), over_batch(size)
    whole = size + smooth
    ratio = (2 * overlap + smooth) / whole.clamp_min(torch.finfo(whole.dtype).tiny)
    return torch.where(whole > 0, ratio, torch.ones_like(ratio)).mean()
