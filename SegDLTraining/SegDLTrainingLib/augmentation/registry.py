"""Augmentation steps by name.

A step is a function ``(images, labels, draws, **constants) -> (images, labels)`` on one batch: images float32
(N, C, j, i) or (N, C, k, j, i), labels uint8 (N, j, i) or (N, k, j, i), which stay labels.  All its random
numbers come from ``draws``, so that a batch depends on the seed and its number only.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from SegDLEngine.errors import InputError

from SegDLTrainingLib.draws import Draws

STEP_MODULES = (
    "SegDLTrainingLib.augmentation.slices",
    "SegDLTrainingLib.augmentation.geometry",
    "SegDLTrainingLib.augmentation.intensity",
    "SegDLTrainingLib.augmentation.planes",
    "SegDLTrainingLib.augmentation.elastic",
    "SegDLTrainingLib.augmentation.batchwise",
)

Pair = tuple[torch.Tensor, torch.Tensor]
Step = Callable[..., Pair]
Augment = Callable[[torch.Tensor, torch.Tensor, Draws], Pair]
_STEPS: dict[str, Step] = {}
_DIMENSIONS: dict[str, Sequence[int]] = {}


def augmentation(name: str, dimensions: Sequence[int] = (2, 3)) -> Callable[[Step], Step]:
    """Register an augmentation step under ``name``, for slices (2) or 3D patches (3) or both."""

    def register(function: Step) -> Step:
        if name in _STEPS:
            raise ValueError(f"two augmentation steps are named '{name}'")
        _STEPS[name], _DIMENSIONS[name] = function, dimensions
        return function

    return register


def known_augmentations() -> dict[str, Step]:
    """All steps by name."""
    for module in STEP_MODULES:
        importlib.import_module(module)
    return dict(_STEPS)


def build_augmentation(
    entries: Mapping[str, Any] | Sequence[Mapping[str, Any]], dimensions: int | None = None
) -> Augment:
    """One function that applies a recipe's steps ``{"step": name, constants}`` in order.

    A single table without a name holds the constants of the step "slices".  Raises InputError for an unknown
    step or constant, and for a step that cannot change images of ``dimensions``, if these are given.
    """
    if isinstance(entries, Mapping):
        entries = [{"step": "slices", **entries}] if entries else []
    known = known_augmentations()
    steps: list[tuple[Step, dict[str, Any]]] = []
    for entry in entries:
        constants = dict(entry)
        name = constants.pop("step", None)
        if name not in known:
            raise InputError(
                f"The recipe's augmentation '{name}' is unknown.",
                hint=f"Known augmentations: {', '.join(sorted(known))}.",
            )
        if dimensions is not None and dimensions not in _DIMENSIONS[name]:
            fitting = [other for other in sorted(known) if dimensions in _DIMENSIONS[other]]
            raise InputError(
                f"The recipe's augmentation '{name}' is not for images of {dimensions} dimensions.",
                hint=f"For these there are {', '.join(fitting)}.",
            )
        try:
            inspect.signature(known[name]).bind(None, None, None, **constants)
        except TypeError as error:
            raise InputError(f"The recipe's augmentation '{name}': {error}.") from error
        steps.append((known[name], constants))

    def augment(images: torch.Tensor, labels: torch.Tensor, draws: Draws) -> Pair:
        for function, constants in steps:
            images, labels = function(images, labels, draws, **constants)
        return images, labels

    return augment
