"""Sums over a batch that is shared among processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import distributed


class _SumOverProcesses(torch.autograd.Function):
    """Sum of all processes' tensors; the gradient is the sum of all processes' gradients.

    Every process then computes the same loss of the whole batch, and the mean of the processes' gradients,
    which DistributedDataParallel takes, is that loss's gradient.
    """

    @staticmethod
    def forward(context: Any, tensor: torch.Tensor) -> torch.Tensor:
        whole = tensor.clone()
        distributed.all_reduce(whole)
        return whole

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        whole = gradient.clone()
        distributed.all_reduce(whole)
        return whole


def over_batch(sums: torch.Tensor) -> torch.Tensor:
    """Sums over this process's rows, completed by those of the others while training."""
    shared = distributed.is_available() and distributed.is_initialized()
    if shared and sums.requires_grad and distributed.get_world_size() > 1:
        return _SumOverProcesses.apply(sums)
    return sums
