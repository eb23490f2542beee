"""Which voxels belong to which of several parallel planes: how contours and frames become volumes.

A structure drawn on planes (RTSTRUCT) or stored as frames (DICOM SEG) need not have the slices of the image.
Each voxel centre belongs to the nearest plane, if it lies within half a plane distance of it; this holds for
any orientation of the image and fills neither gaps in the structure nor leaves slices of a finer image out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from SegDLEngine.images.grid import Grid

# Planes nearer than this are one plane (mm): headers round.
SAME_PLANE = 0.05
# What is on a border, but for the rounding of headers, counts as above it (mm).
ROUNDING = 1e-3


@dataclass(frozen=True)
class Slab:
    """The voxels of one plane: their indices ``k, j, i`` and their place ``uv`` (N, 2) in the plane, mm."""

    k: np.ndarray
    j: np.ndarray
    i: np.ndarray
    uv: np.ndarray


@dataclass(frozen=True)
class Frame:
    """Orthonormal directions of a plane in LPS: ``u`` and ``v`` within it, ``normal`` = u x v."""

    u: np.ndarray
    v: np.ndarray

    @property
    def normal(self) -> np.ndarray:
        return np.cross(self.u, self.v)

    def heights(self, points: np.ndarray) -> np.ndarray:
        """Distance (mm) of LPS points (N, 3) along the normal."""
        return np.asarray(points) @ self.normal

    def project(self, points: np.ndarray) -> np.ndarray:
        """Coordinates (N, 2) of LPS points (N, 3) within the plane, mm."""
        return np.asarray(points) @ np.column_stack([self.u, self.v])


def distinct_heights(heights: Sequence[float]) -> np.ndarray:
    """Sorted heights with those of one plane merged."""
    ordered = np.sort(np.asarray(heights, dtype=float))
    return ordered[np.concatenate([[True], np.diff(ordered) > SAME_PLANE])]


def plane_distance(heights: np.ndarray, grid: Grid, frame: Frame) -> float:
    """The usual distance of planes at sorted ``heights``; of a single plane the voxels' extent across it."""
    if len(heights) > 1:
        return float(np.median(np.diff(heights)))
    return float(np.abs(frame.normal @ grid.axes) @ np.asarray(grid.spacing))


def intervals(heights: np.ndarray, distance: float) -> list[tuple[float, float]]:
    """For each of the sorted heights the interval [low, high) of what belongs to its plane.

    A voxel half-way between two planes belongs to the upper one; one half a distance above the uppermost to
    none, one below the lowest to the lowest, so that a stack of planes is as thick as it should be.
    """
    middle = (heights[1:] + heights[:-1]) / 2
    low = np.maximum(heights - distance / 2, np.concatenate([[-np.inf], middle])) - ROUNDING
    high = np.minimum(heights + distance / 2, np.concatenate([middle, [np.inf]])) - ROUNDING
    return list(zip(low.tolist(), high.tolist(), strict=True))


def slab(grid: Grid, frame: Frame, points: np.ndarray, interval: tuple[float, float]) -> Slab | None:
    """The voxels of ``grid`` with their height in ``interval`` round the LPS ``points`` (N, 3) of a plane.

    None if the box round the points, as thick as the interval, has no voxel centre of the grid.
    """
    here = frame.heights(points)[:, None]
    ends = np.concatenate([points + (end - here) * frame.normal for end in interval])
    index = grid.to_index(ends)
    first = np.maximum(np.floor(index.min(axis=0)).astype(int), 0)
    last = np.minimum(np.ceil(index.max(axis=0)).astype(int), np.asarray(grid.size) - 1)
    if np.any(last < first):
        return None
    axes = [np.arange(start, stop + 1) for start, stop in zip(first, last, strict=True)]
    step = frame.normal @ (grid.axes * np.asarray(grid.spacing))
    height = (
        frame.heights(np.asarray(grid.origin))
        + (axes[2] * step[2])[:, None, None]
        + (axes[1] * step[1])[None, :, None]
        + (axes[0] * step[0])[None, None, :]
    )
    k, j, i = np.nonzero((height >= interval[0]) & (height < interval[1]))
    if not k.size:
        return None
    k, j, i = k + first[2], j + first[1], i + first[0]
    return Slab(k, j, i, frame.project(grid.to_physical(np.column_stack([i, j, k]))))
