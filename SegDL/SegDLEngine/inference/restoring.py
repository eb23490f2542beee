"""Bring results from the prepared grid back to the grid of the input they belong to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.images.resampling import resample
from SegDLEngine.inference.postprocessing import label_map
from SegDLEngine.protocol import Reporter

# Slices of the output that are interpolated at a time: bounds the memory and the time to a cancel.
_SLAB = 32


def restore_labels(
    probability: np.ndarray,
    grid: Grid,
    target: Grid,
    values: Sequence[int],
    threshold: float,
    activation: str,
    reporter: Reporter,
    revised: tuple[np.ndarray, np.ndarray] | None = None,
) -> Image:
    """Labels (uint8) on ``target``: probabilities (L, k, j, i) on ``grid`` interpolated, then thresholded.

    ``revised``: labels (k, j, i) on ``grid`` before and after postprocessing; where they differ, the
    probabilities count as 0 and, for the label that a voxel got, 1.
    """
    labels = np.zeros(target.shape, np.uint8)
    for place, part in _slabs(grid, target):
        reporter.check()
        box, source = _source(grid, part)
        layers = [np.asarray(layer[box]) for layer in probability]
        if revised is not None:
            before, after = (array[box] for array in revised)
            changed = before != after
            if changed.any():
                pairs = zip(values, layers, strict=True)
                layers = [np.where(changed, np.float32(after == value), layer) for value, layer in pairs]
        found = np.stack([resample(Image(layer, source), part, outside=0.0).array for layer in layers])
        labels[place] = label_map(found, values, threshold, activation)
    return Image(labels, target)


def restore_map(values: np.ndarray, grid: Grid, target: Grid, reporter: Reporter) -> Image:
    """float32 values (k, j, i) on ``grid`` interpolated linearly on ``target``; 0 outside ``grid``."""
    result = np.zeros(target.shape, np.float32)
    for place, part in _slabs(grid, target):
        reporter.check()
        box, source = _source(grid, part)
        result[place] = resample(Image(values[box], source), part, outside=0.0).array
    return Image(result, target)


def _source(grid: Grid, part: Grid) -> tuple[tuple[slice, slice, slice], Grid]:
    """What of ``grid`` interpolation on ``part`` needs, so that no copy of the whole is made for a slab.

    Where the voxels of ``part`` are voxels of ``grid``, exactly those: nothing is interpolated then.
    """
    start = np.rint(grid.to_index(np.asarray([part.origin]))[0]).astype(int)
    stop = start + part.size
    exact = bool(np.all(start >= 0) and np.all(stop <= grid.size))
    if not exact or not grid.crop(start, part.size).matches(part, tolerance=1e-6):
        corners = grid.to_index(part.corners())
        start = np.clip(np.floor(corners.min(axis=0)) - 1, 0, np.asarray(grid.size) - 1).astype(int)
        stop = np.clip(np.ceil(corners.max(axis=0)) + 2, start + 1, grid.size).astype(int)
    box = tuple(slice(low, high) for low, high in zip(start[::-1], stop[::-1], strict=True))
    return (box[0], box[1], box[2]), grid.crop(start, stop - start)


def _slabs(grid: Grid, target: Grid) -> Iterator[tuple[tuple[slice, slice, slice], Grid]]:
    """The part of ``target`` that ``grid`` reaches, in slabs: array index and grid of each."""
    corners = target.to_index(grid.corners())
    low = np.clip(np.floor(corners.min(axis=0)), 0, target.size).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0)) + 1, 0, target.size).astype(int)
    if np.any(high <= low):
        return
    for start in range(low[2], high[2], _SLAB):
        stop = min(start + _SLAB, high[2])
        place = (slice(start, stop), slice(low[1], high[1]), slice(low[0], high[0]))
        size = (high[0] - low[0], high[1] - low[1], stop - start)
        yield place, target.crop((low[0], low[1], start), size)
