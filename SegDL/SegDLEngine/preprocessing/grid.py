"""Preprocessing steps that change the grid; images, labels and masks move together.

Images are interpolated linearly unless a step says otherwise, labels and masks by the nearest voxel, with 0
outside.  ``outside`` and ``fill`` are a number for all inputs or a table by input name, in the input's unit
at that point of the list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from SegDLEngine.errors import ModelError
from SegDLEngine.images.cropping import bounding_box, crop
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.images.resampling import INTERPOLATIONS, antialiased, canonical_grid, resample
from SegDLEngine.preprocessing.registry import PreparedCase, step

Outside = float | Mapping[str, float]


@step("canonical")
def canonical(
    case: PreparedCase, *, spacing: Sequence[float], outside: Outside = 0.0, antialias: float = 0.0
) -> PreparedCase:
    """Bring everything to the axis-aligned lattice of ``spacing`` [x, y, z] mm round the reference input.

    Other inputs are resampled to the same grid, straight from their own.  ``antialias`` > 0 smooths images
    that are finer than the lattice first, see ``images.resampling.antialiased``.
    """
    grid = canonical_grid(case.grid, checked_spacing("canonical", spacing, 3))
    if antialias > 0:
        case = case.map_images(lambda image: antialiased(image, grid, antialias))
    return to_grid(case, grid, outside)


@step("to_reference")
def to_reference(case: PreparedCase, *, outside: Outside = 0.0) -> PreparedCase:
    """Resample every other input to the grid of the reference input."""
    return to_grid(case, case.grid, outside)


@step("resample_in_plane")
def resample_in_plane(
    case: PreparedCase,
    *,
    spacing: float | Sequence[float],
    outside: Outside = 0.0,
    interpolation: str = "linear",
) -> PreparedCase:
    """Give the slices of the reference input the spacing [i, j] mm; the slices themselves stay.

    The outer edge of the first row and column stays in place; the size is rounded to whole voxels.
    """
    pair = [spacing, spacing] if isinstance(spacing, (int, float)) else spacing
    old, new = np.asarray(case.grid.spacing), np.asarray(case.grid.spacing)
    new[:2] = checked_spacing("resample_in_plane", pair, 2)
    size = np.maximum(np.rint(np.asarray(case.grid.size) * old / new), 1).astype(int)
    origin = np.asarray(case.grid.origin) + case.grid.axes @ ((new - old) / 2)
    grid = Grid(tuple(size), tuple(new), tuple(origin), case.grid.direction)
    return to_grid(case, grid, outside, checked_interpolation("resample_in_plane", interpolation))


@step("crop_pad")
def crop_pad(case: PreparedCase, *, size: Sequence[int], fill: Outside = 0.0) -> PreparedCase:
    """Cut or pad the slices round their centre to ``size`` [i, j] voxels; all inputs must share one grid."""
    if len(size) != 2 or min(size) < 1:
        raise ModelError(f"Step 'crop_pad': size {list(size)} is not two positive numbers of voxels.")
    before = case.grid.size
    start = ((before[0] - size[0]) // 2, (before[1] - size[1]) // 2, 0)
    return cut(case, start, (size[0], size[1], before[2]), fill, "crop_pad")


@step("crop_to_mask")
def crop_to_mask(case: PreparedCase, *, mask: str, margin_mm: float = 0.0) -> PreparedCase:
    """Cut everything to the box round a mask plus a margin; keeps all, with a warning, if there is none."""
    found = case.masks.get(mask)
    box = bounding_box(found, margin_mm) if found is not None else None
    if box is None:
        reason = "is missing" if found is None else "is empty"
        case.reporter.warning("empty-mask", f"The mask '{mask}' {reason}; the whole image is used.")
        return case
    return cut(case, *box, fill=0.0, name="crop_to_mask")


def to_grid(
    case: PreparedCase, grid: Grid, outside: Outside = 0.0, interpolation: str = "linear"
) -> PreparedCase:
    """Resample all images (``interpolation``), labels and masks (nearest) to ``grid``."""
    images = {
        name: resample(image, grid, interpolation=interpolation, outside=value_for(outside, name))
        for name, image in case.images.items()
    }
    return _with(case, images, lambda image: resample(image, grid, interpolation="nearest"))


def cut(
    case: PreparedCase, start: Sequence[int], size: Sequence[int], fill: Outside, name: str
) -> PreparedCase:
    """Copy the box of ``size`` (i, j, k) from index ``start`` on, for the step ``name``.

    Raises ModelError unless all images, labels and masks share one grid.
    """
    for other, image in {**case.images, **case.masks, "labels": case.labels}.items():
        if image is not None and not image.grid.matches(case.grid):
            raise ModelError(
                f"Step '{name}': '{other}' is not on the grid of '{case.reference}'.",
                hint="Put 'canonical' or 'to_reference' before it in the model card.",
            )
    images = {key: crop(image, start, size, value_for(fill, key)) for key, image in case.images.items()}
    return _with(case, images, lambda image: crop(image, start, size))


def _with(case: PreparedCase, images: Mapping[str, Image], move: Callable[[Image], Image]) -> PreparedCase:
    labels = move(case.labels) if case.labels is not None else None
    masks = {name: move(mask) for name, mask in case.masks.items()}
    return replace(case, images=dict(images), labels=labels, masks=masks)


def value_for(table: Outside, name: str) -> float:
    """The number meant for the input ``name``."""
    return float(table.get(name, 0.0)) if isinstance(table, Mapping) else float(table)


def checked_interpolation(name: str, interpolation: str) -> str:
    """``interpolation``; raises ModelError for the step ``name`` if there is none of this name."""
    if interpolation not in INTERPOLATIONS:
        known = ", ".join(INTERPOLATIONS)
        raise ModelError(f"Step '{name}': interpolation '{interpolation}' is none of {known}.")
    return interpolation


def checked_spacing(name: str, spacing: Sequence[float], count: int) -> tuple[float, ...]:
    """``spacing`` as numbers; raises ModelError for the step ``name`` if one is not positive."""
    if len(spacing) != count or not min(spacing) > 0:
        raise ModelError(f"Step '{name}': spacing {list(spacing)} is not {count} positive lengths in mm.")
    return tuple(float(length) for length in spacing)
