"""From a coarse 3D segmentation to the in-plane boxes that patches are taken from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cc3d
import numpy as np

QUERY_MARGIN = 15
DICTIONARY_MARGIN = 10


@dataclass(frozen=True)
class SliceBox:
    """Rows and columns (first, one past the last) of a box in slice ``k``."""

    k: int
    rows: tuple[int, int]
    columns: tuple[int, int]

    @property
    def centre(self) -> tuple[int, int]:
        """Row and column."""
        return sum(self.rows) // 2, sum(self.columns) // 2


def largest_components(mask: np.ndarray, count: int = 2, minimum_voxels: int = 20) -> np.ndarray:
    """The ``count`` largest 26-connected components of ``mask`` (k, j, i) of at least so many voxels."""
    parts = cc3d.connected_components(mask.astype(bool), connectivity=26)
    sizes = np.bincount(parts.ravel())[1:]
    kept = [number + 1 for number in np.argsort(-sizes)[:count] if sizes[number] >= minimum_voxels]
    return np.isin(parts, kept)


def slice_boxes(mask: np.ndarray, margin: int) -> Iterator[SliceBox]:
    """The bounding box in every slice of ``mask`` (k, j, i), ``margin`` pixels larger, inside the image.

    The report enlarges boxes of labelled lesions by at most 10 pixels a side (DICTIONARY_MARGIN) and those of
    the coarse segmentation by at most 15 (QUERY_MARGIN).
    """
    for k in np.flatnonzero(mask.any(axis=(1, 2))):
        ranges = []
        for axis, length in zip((1, 0), mask.shape[1:], strict=True):
            busy = np.flatnonzero(mask[k].any(axis=axis))
            ranges.append((max(int(busy[0]) - margin, 0), min(int(busy[-1]) + 1 + margin, length)))
        yield SliceBox(int(k), ranges[0], ranges[1])


def cut_patch(plane: np.ndarray, centre: tuple[int, int], side: int, fill: float = 0.0) -> np.ndarray:
    """A square (..., side, side) of ``plane`` (..., j, i) round ``centre``; ``fill`` beyond the image."""
    patch = np.full((*plane.shape[:-2], side, side), fill, dtype=plane.dtype)
    source, target = [], []
    for at, length in zip(centre, plane.shape[-2:], strict=True):
        start = at - side // 2
        low, high = max(start, 0), min(start + side, length)
        source.append(slice(low, max(high, low)))
        target.append(slice(low - start, max(high, low) - start))
    patch[..., target[0], target[1]] = plane[..., source[0], source[1]]
    return patch
