"""Cutting boxes out of images and putting them back: voxels are copied, never interpolated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image

# Start and size (i, j, k) of a box of voxels; the same as slices (k, j, i) of an array.
Box = tuple[tuple[int, int, int], tuple[int, int, int]]
Part = tuple[slice, slice, slice]


def crop(image: Image, start: Sequence[int], size: Sequence[int], fill: float = 0.0) -> Image:
    """The box of ``size`` (i, j, k) voxels from index ``start`` on; ``fill`` where it leaves the image.

    Raises ValueError if an axis of the box has no voxels.
    """
    grid = image.grid.crop(start, size)
    return image.with_array(_copy(image.array, np.asarray(start), grid, fill), grid)


def paste(patch: Image, grid: Grid, fill: float = 0.0) -> Image:
    """The patch on ``grid``, ``fill`` elsewhere; the inverse of ``crop``.

    The grids must share their lattice; raises ValueError if their voxels do not coincide to 0.01 of a voxel.
    """
    start = lattice_offset(grid, patch.grid)
    return patch.with_array(_copy(patch.array, -start, grid, fill), grid)


def lattice_offset(grid: Grid, patch: Grid) -> np.ndarray:
    """Index (i, j, k) in ``grid`` of the first voxel of ``patch``; ValueError if the lattices differ."""
    ends = np.array([(0, 0, 0), np.asarray(patch.size) - 1], dtype=float)
    first, last = grid.to_index(patch.to_physical(ends))
    start = np.rint(first)
    if max(np.abs(first - start).max(), np.abs(last - start - ends[1]).max()) > 0.01:
        raise ValueError("the patch does not lie on the voxels of the image")
    axes = grid.ijk_to_lps[:3, :3] - patch.ijk_to_lps[:3, :3]
    if np.abs(axes).max() > 0.01 * min(grid.spacing):
        raise ValueError("the axes of the patch are not those of the image")
    return start.astype(int)


def bounding_box(mask: Image, margin_mm: float = 0.0) -> Box | None:
    """Start (i, j, k) and size of the smallest box around the non-zero voxels, None if there are none.

    The box grows by ``margin_mm`` on every side, rounded up to whole voxels, and stays inside the image.
    """
    k, j, i = (int(np.ceil(margin_mm / spacing - 1e-6)) for spacing in mask.grid.spacing[::-1])
    box = occupied(mask.array, (k, j, i))
    if box is None:
        return None
    k, j, i = (side.start for side in box)
    slices, rows, columns = (side.stop - side.start for side in box)
    return (i, j, k), (columns, rows, slices)


def occupied(array: np.ndarray, margin: tuple[int, int, int] = (0, 0, 0)) -> Part | None:
    """The smallest part of ``array`` (k, j, i) that has all its non-zero voxels, None if there are none.

    It grows by ``margin`` voxels (k, j, i) on every side and stays inside the array.
    """
    along_k = np.any(array, axis=(1, 2))
    if not along_k.any():
        return None
    plane = np.any(array, axis=0)
    part = []
    for line, extra in zip((along_k, np.any(plane, axis=1), np.any(plane, axis=0)), margin, strict=True):
        found = np.flatnonzero(line)
        part.append(slice(max(int(found[0]) - extra, 0), min(int(found[-1]) + 1 + extra, line.size)))
    return part[0], part[1], part[2]


def _copy(array: np.ndarray, start: np.ndarray, grid: Grid, fill: float) -> np.ndarray:
    """Voxels of a box of ``grid.size`` that begins at index ``start`` (i, j, k) of ``array``."""
    result = np.full(grid.shape, fill, dtype=array.dtype)
    size, available = np.asarray(grid.size), np.asarray(array.shape[::-1])
    low, high = np.maximum(start, 0), np.minimum(start + size, available)
    if np.all(high > low):
        source = tuple(slice(a, b) for a, b in zip(low[::-1], high[::-1], strict=True))
        target = tuple(slice(a, b) for a, b in zip((low - start)[::-1], (high - start)[::-1], strict=True))
        result[target] = array[source]
    return result
