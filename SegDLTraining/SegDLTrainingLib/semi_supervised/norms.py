"""Batch norm that keeps labelled and other patches of one batch apart.

Patches without labels come from lesions alone.  Mixed into the statistics by which the labelled ones are
normalised, and whole slices later, they cost Dice even where the loss does not count them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_APART: WeakSet[nn.Module] = WeakSet()


def keep_apart(network: nn.Module, groups: int) -> None:
    """Whenever ``network`` trains, normalise each of ``groups`` equal parts of a batch by itself.

    Running statistics follow the first part only.  Asked for again, nothing changes.
    """
    if network in _APART:
        return
    _APART.add(network)
    mode = _Apart(groups)
    open_for: list[bool] = []

    def enter(module: nn.Module, _inputs: Any) -> None:
        open_for.append(module.training)
        if module.training:
            mode.__enter__()

    def leave(_module: nn.Module, _inputs: Any, _output: Any) -> None:
        if open_for.pop():
            mode.__exit__(None, None, None)

    network.register_forward_pre_hook(enter)
    network.register_forward_hook(leave, always_call=True)


class _Apart(TorchFunctionMode):
    def __init__(self, groups: int):
        super().__init__()
        self._groups = groups

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is functional.batch_norm:
            return self._batch_norm(*args, **kwargs)
        return function(*args, **kwargs)

    def _batch_norm(
        self,
        input: torch.Tensor,
        running_mean: torch.Tensor | None,
        running_var: torch.Tensor | None,
        weight: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> torch.Tensor:
        if not training or len(input) % self._groups:
            return functional.batch_norm(
                input, running_mean, running_var, weight, bias, training, momentum, eps
            )
        first, *others = input.chunk(self._groups)
        parts = [functional.batch_norm(first, running_mean, running_var, weight, bias, True, momentum, eps)]
        for part in others:
            parts.append(functional.batch_norm(part, None, None, weight, bias, True, momentum, eps))
        return torch.cat(parts)
