"""Preprocessing steps that make a mask from grey values, and that blank what lies outside of a mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from SegDLEngine.errors import ModelError
from SegDLEngine.images.image import Image
from SegDLEngine.images.smoothing import gaussian
from SegDLEngine.preprocessing.grid import Outside, value_for
from SegDLEngine.preprocessing.registry import PreparedCase, step


@step("mask_outside")
def mask_outside(
    case: PreparedCase, *, mask: str, value: Outside = 0.0, inputs: Sequence[str] | None = None
) -> PreparedCase:
    """Set the voxels outside of the named mask to ``value``, a number or a table by input name.

    Without such a mask, or where it is empty, everything stays, with a warning.  The type changes to float32
    only where it cannot hold the value.
    """
    inside = case.inside(mask, inputs, "mask_outside")
    if inside is None:
        reason = "is empty" if mask in case.masks else "is missing"
        case.reporter.warning("empty-mask", f"The mask '{mask}' {reason}; nothing is masked.")
        return case
    outside = ~inside

    def apply(name: str, image: Image) -> Image:
        return image.with_array(_filled(image.array, outside, value_for(value, name)))

    chosen = set(inputs) if inputs else set(case.images)
    return case.with_images(
        {name: apply(name, image) if name in chosen else image for name, image in case.images.items()}
    )


@step("mask_between")
def mask_between(
    case: PreparedCase,
    *,
    name: str,
    input: str | None = None,
    low: float | None = None,
    high: float | None = None,
    smooth_mm: float = 0.0,
) -> PreparedCase:
    """Add the mask ``name`` of the voxels whose value lies from ``low`` to ``high``, either of them optional.

    Of the reference input unless another is named.  ``smooth_mm``: standard deviation of the Gaussian that is
    applied first, so that noise does not decide.
    """
    chosen = case.reference if input is None else input
    if chosen not in case.images:
        raise ModelError(
            f"Step 'mask_between': there is no input '{chosen}'.", hint=f"Inputs: {', '.join(case.images)}."
        )
    image = case.images[chosen]
    values = gaussian(image.array, image.grid, smooth_mm)
    inside = np.ones(values.shape, dtype=bool)
    if low is not None:
        inside &= values >= low
    if high is not None:
        inside &= values <= high
    return case.with_mask(name, Image(inside.astype(np.uint8), image.grid))


def _filled(array: np.ndarray, where: np.ndarray, value: float) -> np.ndarray:
    if array.dtype.kind in "biu":
        kind = np.iinfo(array.dtype) if array.dtype.kind != "b" else None
        holds = kind is not None and kind.min <= value <= kind.max and float(value).is_integer()
        array = array if holds else array.astype(np.float32)
    result = array.copy()
    result[where] = value
    return result
