"""Preprocessing steps by name: the one definition that training and inference share.

A model card lists its steps as ``{"step": name, ...constants}``.  Each step is a function
``(case, **constants) -> case`` registered under its name; the same function prepares a training case
(which has labels) and a clinical one (which has none).
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from SegDLEngine.errors import ModelError
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.protocol import Reporter

STEP_MODULES = (
    "SegDLEngine.preprocessing.grid",
    "SegDLEngine.preprocessing.orientation",
    "SegDLEngine.preprocessing.resizing",
    "SegDLEngine.preprocessing.boxes",
    "SegDLEngine.preprocessing.intensity",
    "SegDLEngine.preprocessing.bias_field",
    "SegDLEngine.preprocessing.masking",
    "SegDLEngine.preprocessing.foreground",
    "SegDLEngine.preprocessing.histogram",
    "SegDLEngine.preprocessing.display_window",
    "SegDLEngine.preprocessing.lungs.step",
    "SegDLEngine.preprocessing.lungs.mask_step",
)


@dataclass(frozen=True)
class PreparedCase:
    """A case on its way to the network.

    ``images`` by input name; ``reference`` names the input whose grid the result returns to; ``labels`` is
    the training mask that geometric steps carry along; ``masks`` keeps by-products such as ``lungs``;
    ``region`` is the box that the user asked for: (r_min, r_max, a_min, a_max, s_min, s_max), mm in RAS;
    ``device`` is where a step that runs a network computes.
    """

    images: Mapping[str, Image]
    reference: str
    labels: Image | None = None
    masks: Mapping[str, Image] = field(default_factory=dict)
    reporter: Reporter = field(default_factory=Reporter)
    region: tuple[float, ...] | None = None
    device: str = "auto"

    @property
    def grid(self) -> Grid:
        return self.images[self.reference].grid

    def with_images(self, images: Mapping[str, Image]) -> PreparedCase:
        return replace(self, images=dict(images))

    def map_images(
        self, function: Callable[[Image], Image], names: Sequence[str] | None = None
    ) -> PreparedCase:
        """Apply ``function`` to the named images (all by default)."""
        chosen = set(names) if names else set(self.images)
        return self.with_images(
            {name: function(image) if name in chosen else image for name, image in self.images.items()}
        )

    def inside(self, mask: str | None, inputs: Sequence[str] | None, step: str) -> np.ndarray | None:
        """bool (k, j, i): where the mask of this name is; None if there is none or it is empty.

        Raises ModelError, for the step, unless the inputs (all by default) lie on the mask's grid.
        """
        found = None if mask is None else self.masks.get(mask)
        if found is None or not found.array.any():
            return None
        for name in inputs or self.images:
            if name in self.images and not self.images[name].grid.matches(found.grid):
                raise ModelError(
                    f"Step '{step}': '{name}' is not on the grid of the mask '{mask}'.",
                    hint="Put 'canonical' or 'to_reference' before it in the model card.",
                )
        return found.array != 0

    def with_mask(self, name: str, mask: Image) -> PreparedCase:
        return replace(self, masks={**self.masks, name: mask})

    def channels(self, names: Sequence[str]) -> np.ndarray:
        """float32 array (C, k, j, i) of the named images, which must share one grid."""
        grid = self.grid
        for name in names:
            if not self.images[name].grid.matches(grid):
                raise ModelError(
                    f"Input '{name}' is not on the grid of '{self.reference}' after preprocessing.",
                    hint="Add a resampling step to the model card.",
                )
        arrays = [self.images[name].array.astype(np.float32, copy=False) for name in names]
        return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)


Step = Callable[..., PreparedCase]
_STEPS: dict[str, Step] = {}


def step(name: str) -> Callable[[Step], Step]:
    """Register a preprocessing step under ``name``."""

    def register(function: Step) -> Step:
        if name in _STEPS:
            raise ValueError(f"two preprocessing steps are named '{name}'")
        _STEPS[name] = function
        return function

    return register


def known_steps() -> dict[str, Step]:
    """All steps by name."""
    for module in STEP_MODULES:
        importlib.import_module(module)
    return dict(_STEPS)


def check_steps(steps: Sequence[Mapping[str, Any]], inputs: Sequence[str] | None = None) -> None:
    """Raise ModelError if a step is unknown or its constants do not fit, before any work is done.

    ``inputs``: the names of the card's inputs; with them, a step that names another one is refused too.
    """
    known = known_steps()
    for number, entry in enumerate(steps, start=1):
        constants = dict(entry)
        name = constants.pop("step", None)
        if name not in known:
            raise ModelError(
                f"Preprocessing step {number} is named '{name}', which this version does not know.",
                hint=f"Known steps: {', '.join(sorted(known))}.",
            )
        try:
            inspect.signature(known[name]).bind(None, **constants)
        except TypeError as error:
            raise ModelError(f"Preprocessing step {number} '{name}': {error}.") from error
        for other in _inputs_named(constants):
            if inputs is not None and other not in inputs:
                raise ModelError(
                    f"Preprocessing step {number} '{name}': there is no input '{other}'.",
                    hint=f"Inputs of this model: {', '.join(inputs)}.",
                )


def _inputs_named(constants: Mapping[str, Any]) -> list[str]:
    """The inputs that a step's constants speak of: by name, or in a table of values."""
    named = [*(constants.get("inputs") or ())]
    if constants.get("input") is not None:
        named.append(constants["input"])
    for key in ("outside", "fill", "value"):
        if isinstance(constants.get(key), Mapping):
            named += constants[key]
    return named


def run_steps(
    case: PreparedCase, steps: Sequence[Mapping[str, Any]], stage: str = "preprocessing"
) -> PreparedCase:
    """Run the steps in order, reporting progress and stopping when asked."""
    check_steps(steps)
    for done, entry in enumerate(steps):
        case.reporter.progress(stage, done / max(len(steps), 1))
        constants = {key: value for key, value in entry.items() if key != "step"}
        case = _STEPS[entry["step"]](case, **constants)
    case.reporter.progress(stage, 1.0)
    return case
