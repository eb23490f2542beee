"""Focal loss and the logarithm of the Dice, report 004."""

from __future__ import annotations

import torch
from SegDLEngine.errors import InputError

from SegDLTrainingLib.losses.cross_entropy import focal
from SegDLTrainingLib.losses.dice import soft_dice
from SegDLTrainingLib.losses.registry import Loss, loss
from SegDLTrainingLib.targets import probabilities


@loss("focal_log_dice")
def focal_log_dice(
    activation: str,
    gamma: float = 1.0,
    smooth: float = 100.0,
    weights: tuple[float, float] = (0.8, 0.2),
    alpha: float | None = None,
) -> Loss:
    """weights[0] * focal - weights[1] * log(Dice), the Dice over the whole batch.

    The report's text exchanges the focal loss's modulating factors, so that it would favour easy pixels; this
    is the usual form, as its code has it.  ``alpha`` weighs the foreground and 1 - alpha the background of a
    sigmoid; the report's 0.25 had no effect in its code, so the default is none.
    """
    focal_weight, dice_weight = weights
    if alpha is not None and activation == "softmax":
        raise InputError(
            "The recipe's loss: alpha balances a label and its background, with softmax there are more.",
            hint="Leave alpha out.",
        )

    def compute(logits: torch.Tensor, target: torch.Tensor, epoch: float) -> torch.Tensor:
        predicted = probabilities(logits, activation)
        dice = soft_dice(predicted, target, smooth, per="batch", background=activation != "softmax")
        if alpha is None:
            focused = focal(logits, target, activation, gamma)
        else:
            focused = _balanced_focal(logits, target, gamma, alpha)
        return focal_weight * focused - dice_weight * dice.log()

    return compute


def _balanced_focal(logits: torch.Tensor, target: torch.Tensor, gamma: float, alpha: float) -> torch.Tensor:
    predicted = torch.sigmoid(logits)
    right = alpha * target * (1 - predicted) ** gamma * torch.nn.functional.logsigmoid(logits)
    wrong = (1 - alpha) * (1 - target) * predicted**gamma * torch.nn.functional.logsigmoid(-logits)
    return -(right + wrong).mean()
