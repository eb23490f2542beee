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
) -> Image:
    """Labels (uint8) on ``target``: probabilities (L, k, j, i) on ``grid`` interpolated, then thresholded."""
    labels = np.zeros(target.shape, np.uint8)
    for place, part in _slabs(grid, target):
        reporter.check()
        layers = [resample(Image(layer, grid), part, outside=0.0).array for layer in probability]
        labels[place] = label_map(np.stack(layers), values, threshold, activation)
    return Image(labels, target)


def restore_map(values: np.ndarray, grid: Grid, target: Grid, reporter: Reporter) -> Image:
    """float32 values (k, j, i) on ``grid`` interpolated linearly on ``target``; 0 outside ``grid``."""
    result = np.zeros(target.shape, np.float32)
    for place, part in _slabs(grid, target):
        reporter.check()
        result[place] = resample(Image(values, grid), part, outside=0.0).array
    return Image(result, target)


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
