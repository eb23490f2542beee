"""Optimisers by name, as recipes write them: ``{"name": ..., constants}``.

Learning rates come from the recipe's schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from SegDLEngine.errors import InputError

Parameters = Iterable[torch.nn.Parameter]


def adam(parameters: Parameters, betas: Sequence[float] = (0.9, 0.999), weight_decay: float = 0.0) -> Any:
    return torch.optim.Adam(parameters, lr=1e-3, betas=(betas[0], betas[1]), weight_decay=weight_decay)


def adamw(parameters: Parameters, betas: Sequence[float] = (0.9, 0.999), weight_decay: float = 0.01) -> Any:
    return torch.optim.AdamW(parameters, lr=1e-3, betas=(betas[0], betas[1]), weight_decay=weight_decay)


def sgd(
    parameters: Parameters, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0
) -> Any:
    return torch.optim.SGD(
        parameters, lr=1e-2, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay
    )


class PenalisedSGD(torch.optim.SGD):
    """SGD of Havaei et al. (report 002): rising momentum, L1 and L2 penalties, bounded weights.

    ``momentum`` rises linearly from its first to its second value within ``momentum_epochs``; penalties and
    ``bound``, the largest norm of a filter, concern weights, not biases.
    """

    def __init__(
        self,
        parameters: Parameters,
        momentum: Sequence[float] = (0.5, 0.9),
        momentum_epochs: float = 10.0,
        l1: float = 0.0,
        l2: float = 0.0,
        bound: float | None = None,
    ):
        super().__init__(parameters, lr=5e-3, momentum=momentum[0])
        self._momentum, self._momentum_epochs = momentum, momentum_epochs
        self._l1, self._l2, self._bound = l1, l2, bound

    def set_epoch(self, epoch: float) -> None:
        """Set the momentum for a (fractional) epoch."""
        start, end = self._momentum
        value = start + (end - start) * min(1.0, epoch / max(self._momentum_epochs, 1e-9))
        for group in self.param_groups:
            group["momentum"] = value

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        weights = [
            parameter
            for group in self.param_groups
            for parameter in group["params"]
            if parameter.grad is not None and parameter.dim() > 1
        ]
        for weight in weights:
            if self._l1:
                weight.grad.add_(weight.sign(), alpha=self._l1)
            if self._l2:
                weight.grad.add_(weight, alpha=2 * self._l2)
        result = super().step(closure)
        if self._bound is not None:
            for weight in weights:
                weight.copy_(torch.renorm(weight, 2, 0, self._bound))
        return result


OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": adam,
    "adamw": adamw,
    "sgd": sgd,
    "penalised_sgd": PenalisedSGD,
}


def build_optimiser(parameters: Parameters, entry: Mapping[str, Any]) -> torch.optim.Optimizer:
    """The optimiser of a recipe's entry, Adam by default; raises InputError for an unknown one."""
    constants = {key: value for key, value in entry.items() if key != "name"}
    name = entry.get("name", "adam")
    if name not in OPTIMISERS:
        raise InputError(
            f"The recipe's optimiser '{name}' is unknown.", hint=f"Known optimisers: {', '.join(OPTIMISERS)}."
        )
    try:
        return OPTIMISERS[name](list(parameters), **constants)
    except (TypeError, ValueError) as error:
        raise InputError(f"The recipe's optimiser '{name}': {error}.") from error
