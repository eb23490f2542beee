"""A block in which batch norm in training is computed otherwise, whatever layers ask for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode


@dataclass
class NormCall:
    """The arguments of ``torch.nn.functional.batch_norm``, in their order and with their defaults."""

    input: torch.Tensor
    running_mean: torch.Tensor | None
    running_var: torch.Tensor | None
    weight: torch.Tensor | None = None
    bias: torch.Tensor | None = None
    training: bool = False
    momentum: float = 0.1
    eps: float = 1e-5


class BatchNormMode(TorchFunctionMode):
    """Within the block ``normalised`` replaces batch norm in training; all else is as it was.

    The functions which layers call are replaced, not the layers, so a network and its copies stay what they
    are.
    """

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is functional.batch_norm:
            call = NormCall(*args, **kwargs)
            if call.training:
                return self.normalised(call)
        return function(*args, **kwargs)

    def normalised(self, call: NormCall) -> torch.Tensor:
        raise NotImplementedError
