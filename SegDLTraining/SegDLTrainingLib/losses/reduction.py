"""Sums over a batch that is shared among processes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
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


_whole_batch = ContextVar("whole_batch", default=True)


@contextlib.contextmanager
def own_rows_only() -> Iterator[None]:
    """Losses within are those of this process's rows, such as one loss for each patch."""
    before = _whole_batch.set(False)
    try:
        yield
    finally:
        _whole_batch.reset(before)


def over_batch(sums: torch.Tensor) -> torch.Tensor:
    """Sums over this process's rows, completed by those of the others while training."""
    shared = _whole_batch.get() and distributed.is_available() and distributed.is_initialized()
    if shared and sums.requires_grad and distributed.get_world_size() > 1:
        return _SumOverProcesses.apply(sums)
    return sums
