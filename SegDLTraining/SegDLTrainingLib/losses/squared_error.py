"""Mean squared error of probabilities: restoration, report 003."""

from __future__ import annotations

import torch

from SegDLTrainingLib.losses.registry import Loss, loss
from SegDLTrainingLib.targets import probabilities


@loss("mean_squared_error")
def mean_squared_error(activation: str) -> Loss:
    """Mean of (p - target)^2 over all voxels; the target may be any value within 0 to 1."""

    def compute(logits: torch.Tensor, target: torch.Tensor, epoch: float) -> torch.Tensor:
        return ((probabilities(logits, activation) - target) ** 2).mean()

    return compute
