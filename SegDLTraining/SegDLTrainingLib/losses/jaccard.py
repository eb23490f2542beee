"""Jaccard (Tanimoto) losses of report 002.

The report's formula takes the norm of P T unsquared, which gives 0.947 for identical maps; the numerator here
is the sum of p t, as in the code it describes, so that identical binary maps give 0.
"""

from __future__ import annotations

import torch
from SegDLEngine.errors import InputError

from SegDLTrainingLib.losses.dice import AXES
from SegDLTrainingLib.losses.reduction import over_batch
from SegDLTrainingLib.losses.registry import Loss, loss
from SegDLTrainingLib.targets import probabilities

FORMS = ("squares", "extremes")
TOTALS = ("sum", "mean")


def jaccard_distance(
    predicted: torch.Tensor,
    target: torch.Tensor,
    form: str = "squares",
    per: str = "label",
    total: str = "sum",
    clamp: float = 1e-8,
) -> torch.Tensor:
    """1 - Jaccard of (N, outputs, ...), added up or averaged over the outputs (and rows, if ``per`` says so).

    "squares": sum pt / (sum p^2 + sum t^2 - sum pt); "extremes": sum min(p, t) / sum max(p, t).  A class that
    is absent adds 1 and no gradient, whatever is predicted.
    """
    predicted = predicted.clamp(clamp, 1 - clamp)
    axes = (*AXES[per], *range(2, target.dim()))
    if form == "squares":
        shared = (predicted * target).sum(dim=axes)
        whole = (predicted**2).sum(dim=axes) + (target**2).sum(dim=axes) - shared
    else:
        shared = torch.minimum(predicted, target).sum(dim=axes)
        whole = torch.maximum(predicted, target).sum(dim=axes)
    if 0 in axes:
        shared, whole = over_batch(shared), over_batch(whole)
    distances = 1 - shared / whole
    return distances.sum() if total == "sum" else distances.mean()


@loss("jaccard")
def jaccard(
    activation: str,
    form: str = "squares",
    per: str = "label",
    total: str = "sum",
    clamp: float = 1e-8,
    background: bool = True,
) -> Loss:
    """Report 002's loss by default: added up over all classes, background included."""
    for name, value, known in (("form", form, FORMS), ("per", per, tuple(AXES)), ("total", total, TOTALS)):
        if value not in known:
            raise InputError(f"The recipe's loss: {name} '{value}' is none of {', '.join(known)}.")

    def compute(logits: torch.Tensor, target: torch.Tensor, epoch: float) -> torch.Tensor:
        predicted = probabilities(logits, activation)
        if activation == "softmax" and not background:
            predicted, target = predicted[:, 1:], target[:, 1:]
        return jaccard_distance(predicted, target, form, per, total, clamp)

    return compute
