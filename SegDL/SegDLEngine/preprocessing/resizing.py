"""Preprocessing steps that give the image another number of voxels; its physical box stays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from SegDLEngine.errors import ModelError
from SegDLEngine.images.grid import Grid
from SegDLEngine.preprocessing.grid import checked_interpolation, checked_spacing, to_grid
from SegDLEngine.preprocessing.registry import PreparedCase, step


@step("resize")
def resize(case: PreparedCase, *, size: Sequence[int], interpolation: str = "linear") -> PreparedCase:
    """Resample to ``size`` [i, j, k] voxels that fill the box of the reference input.

    The outer corners stay in place, so that the result finds its way back.
    """
    columns, rows, slices = _checked_size("resize", size, 3)
    return _resized(case, "resize", (columns, rows, slices), interpolation)


@step("resample")
def resample(case: PreparedCase, *, spacing: Sequence[float], interpolation: str = "linear") -> PreparedCase:
    """Resample to about ``spacing`` [i, j, k] mm along the axes of the reference input itself.

    The outer corners stay in place and the size is rounded to whole voxels, so the spacing differs a little.
    """
    wanted = np.asarray(checked_spacing("resample", spacing, 3))
    lengths = np.asarray(case.grid.size) * np.asarray(case.grid.spacing)
    columns, rows, slices = np.maximum(np.rint(lengths / wanted), 1).astype(int).tolist()
    return _resized(case, "resample", (columns, rows, slices), interpolation)


@step("resize_in_plane")
def resize_in_plane(case: PreparedCase, *, size: Sequence[int], interpolation: str = "cubic") -> PreparedCase:
    """Resample the slices of the reference input to ``size`` [i, j] voxels; the slices themselves stay.

    The cubic spline overshoots at sharp edges: values may leave the range of the image a little.
    """
    columns, rows = _checked_size("resize_in_plane", size, 2)
    return _resized(case, "resize_in_plane", (columns, rows, case.grid.size[2]), interpolation)


def _resized(case: PreparedCase, name: str, size: tuple[int, int, int], interpolation: str) -> PreparedCase:
    before = np.asarray(case.grid.spacing)
    after = before * case.grid.size / np.asarray(size)
    origin = np.asarray(case.grid.origin) + case.grid.axes @ ((after - before) / 2)
    grid = Grid(size, tuple(after), tuple(origin), case.grid.direction)
    return to_grid(case, grid, interpolation=checked_interpolation(name, interpolation))


def _checked_size(name: str, size: Sequence[int], count: int) -> tuple[int, ...]:
    if len(size) != count or any(int(length) != length or length < 1 for length in size):
        raise ModelError(f"Step '{name}': size {list(size)} is not {count} positive numbers of voxels.")
    return tuple(int(length) for length in size)
