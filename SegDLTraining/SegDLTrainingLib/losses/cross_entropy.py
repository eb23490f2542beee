"""Cross-entropy and focal losses, means over rows and voxels.

``logits`` (N, outputs, ...), ``target`` of the same shape with values in 0..1.  With "softmax" the outputs
exclude each other and the loss of a voxel is the sum over them; with "sigmoid" every output is a question of
its own and the mean over outputs is taken.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from SegDLEngine.errors import InputError
from torch.nn import functional


def cross_entropy(
    logits: torch.Tensor, target: torch.Tensor, activation: str, weights: Sequence[float] | None = None
) -> torch.Tensor:
    """-sum of w t log p; ``weights``: one for each output."""
    if activation == "softmax":
        entropy = -(_per_output(weights, logits) * target * functional.log_softmax(logits, dim=1))
        return entropy.sum(dim=1).mean()
    weight = None if weights is None else _per_output(weights, logits)
    return functional.binary_cross_entropy_with_logits(logits, target, weight)


def focal(
    logits: torch.Tensor,
    target: torch.Tensor,
    activation: str,
    gamma: float,
    clamp: float = 0.0,
    weights: Sequence[float] | None = None,
) -> torch.Tensor:
    """Cross-entropy in which a voxel counts by (1 - probability of the truth)^gamma: report 000.

    ``clamp``: probabilities are kept in [clamp, 1 - clamp]; the report's code uses 1e-3.
    """
    if activation == "softmax":
        log_right = functional.log_softmax(logits, dim=1)
        return _focus(log_right, target, gamma, clamp, _per_output(weights, logits)).sum(dim=1).mean()
    weight = _per_output(weights, logits)
    right = _focus(functional.logsigmoid(logits), target, gamma, clamp, weight)
    wrong = _focus(functional.logsigmoid(-logits), 1 - target, gamma, clamp, weight)
    return (right + wrong).mean()


def _focus(
    log_probability: torch.Tensor, target: torch.Tensor, gamma: float, clamp: float, weight: torch.Tensor
) -> torch.Tensor:
    probability = log_probability.exp()
    if clamp:
        probability = probability.clamp(clamp, 1 - clamp)
        log_probability = probability.log()
    return -weight * target * (1 - probability) ** gamma * log_probability


def _per_output(weights: Sequence[float] | None, logits: torch.Tensor) -> torch.Tensor:
    if weights is None:
        return logits.new_ones(())
    if len(weights) != logits.shape[1]:
        raise InputError(
            f"The recipe's loss has {len(weights)} weights, the network {logits.shape[1]} outputs.",
            hint="Give one weight for each label of the card, with softmax the background's first.",
        )
    return logits.new_tensor(list(weights)).view(1, -1, *(1,) * (logits.dim() - 2))
