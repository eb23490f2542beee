"""Losses by name, as recipes write them: ``{"name": ..., constants}``.

A loss is ``(logits, target, epoch) -> scalar``: logits float32 (N, outputs, ...) without activation, target
of the same shape (see ``targets``).  ``LOSSES`` holds functions ``(activation, **constants) -> loss``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from SegDLEngine.errors import InputError

from SegDLTrainingLib.losses.cross_entropy import cross_entropy, focal
from SegDLTrainingLib.losses.dice import AXES, SMOOTH, soft_dice
from SegDLTrainingLib.targets import probabilities

Loss = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]
LOSSES: dict[str, Callable[..., Loss]] = {}
LOSS_MODULES = tuple(
    f"SegDLTrainingLib.losses.{name}" for name in ("jaccard", "log_dice", "hausdorff", "squared_error")
)


def loss(name: str) -> Callable[[Callable[..., Loss]], Callable[..., Loss]]:
    """Register a function that builds a loss under ``name``."""

    def register(function: Callable[..., Loss]) -> Callable[..., Loss]:
        LOSSES[name] = function
        return function

    return register


def build_loss(entry: Mapping[str, Any], activation: str) -> Loss:
    """The loss of a recipe's entry; raises InputError for an unknown name or constant."""
    for module in LOSS_MODULES:
        importlib.import_module(module)
    constants = {key: value for key, value in entry.items() if key != "name"}
    name = entry.get("name", "privileged_dice")
    if name not in LOSSES:
        raise InputError(
            f"The recipe's loss '{name}' is unknown.", hint=f"Known losses: {', '.join(sorted(LOSSES))}."
        )
    try:
        return LOSSES[name](activation, **constants)
    except TypeError as error:
        raise InputError(f"The recipe's loss '{name}': {error}.") from error


@loss("dice")
def dice(
    activation: str,
    smooth: float = SMOOTH,
    per: str = "sample",
    squared: bool = False,
    background: bool | None = None,
) -> Loss:
    """1 - soft Dice; the background of a softmax does not count unless ``background`` says so."""
    if per not in AXES:
        raise InputError(f"The recipe's loss: per '{per}' is none of {', '.join(AXES)}.")
    with_first = activation != "softmax" if background is None else background

    def compute(logits: torch.Tensor, target: torch.Tensor, epoch: float) -> torch.Tensor:
        predicted = probabilities(logits, activation)
        return 1 - soft_dice(predicted, target, smooth, per, squared, with_first)

    return compute


@loss("cross_entropy")
def cross_entropy_loss(activation: str, weights: Sequence[float] | None = None) -> Loss:
    """Binary cross-entropy with sigmoid, categorical with softmax."""
    return lambda logits, target, epoch: cross_entropy(logits, target, activation, weights)


@loss("focal")
def focal_loss(
    activation: str, gamma: float = 2.0, clamp: float = 0.0, weights: Sequence[float] | None = None
) -> Loss:
    return lambda logits, target, epoch: focal(logits, target, activation, gamma, clamp, weights)


@loss("sum")
def weighted_sum(activation: str, terms: Sequence[Mapping[str, Any]]) -> Loss:
    """``terms``: losses with a ``weight`` each, 1 by default."""
    parts = [
        (
            float(term.get("weight", 1.0)),
            build_loss({k: v for k, v in term.items() if k != "weight"}, activation),
        )
        for term in terms
    ]

    def compute(logits: torch.Tensor, target: torch.Tensor, epoch: float) -> torch.Tensor:
        values = [weight * part(logits, target, epoch) for weight, part in parts]
        return torch.stack(values).sum()

    return compute


@loss("privileged_dice")
def privileged_dice(
    activation: str,
    first: Sequence[float] = (0.75, 0.25),
    after: Sequence[float] = (0.5, 0.5),
    privileged_epochs: int = 50,
    per_slice: bool = False,
) -> Loss:
    """Dice and cross-entropy, with Dice privileged at first: report 001.

    Weights ``first`` (Dice, cross-entropy) before epoch ``privileged_epochs``, then ``after``.  The report
    names no numbers but the 50 epochs; these defaults are ours.
    """
    overlap = dice(activation, per="sample" if per_slice else "batch")
    entropy = cross_entropy_loss(activation)

    def compute(logits: torch.Tensor, target: torch.Tensor, epoch: float) -> torch.Tensor:
        dice_weight, entropy_weight = first if epoch < privileged_epochs else after
        return dice_weight * overlap(logits, target, epoch) + entropy_weight * entropy(logits, target, epoch)

    return compute
