"""The patient's own coordinates at every voxel, distances to simple shapes, and painting with soft edges.

Coordinates are millimetres: x to the patient's left, y to the back, z to the head (LPS), origin at the
carina.  A smooth random bend between voxel positions and patient coordinates makes every shape that is
described by a simple formula irregular.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from SegDLEngine.images.grid import Grid

Box = tuple[slice, slice, slice]
EVERYWHERE: Box = (slice(None), slice(None), slice(None))


def smooth_field(
    shape: Sequence[int], spacing: Sequence[float], wavelength_mm: float, rng: np.random.Generator
) -> np.ndarray:
    """Smooth random field (k, j, i), float32, mean 0 and standard deviation 1: cubic B-splines on noise.

    ``spacing`` is (i, j, k) as in a grid; ``wavelength_mm`` is the distance of the control points.
    """
    bases = [
        _spline_basis(count, step / wavelength_mm)
        for count, step in zip(shape, tuple(spacing)[::-1], strict=True)
    ]
    field = rng.standard_normal([basis.shape[1] for basis in bases]).astype(np.float32)
    for basis in bases:
        field = np.tensordot(field, basis, axes=([0], [1]))
    field -= field.mean()
    return field / max(float(field.std()), 1e-6)


def _spline_basis(count: int, step: float) -> np.ndarray:
    position = np.arange(count) * step + 1.0
    knots = np.arange(int(position[-1]) + 4)
    t = np.abs(position[:, None] - knots[None])
    inner = 2 / 3 - t**2 + t**3 / 2
    outer = np.clip(2 - t, 0, None) ** 3 / 6
    return np.where(t < 1, inner, outer).astype(np.float32)


class Space:
    """Patient coordinates ``x``, ``y``, ``z`` (float32, each (k, j, i)) on ``grid``."""

    def __init__(self, grid: Grid, rng: np.random.Generator, bend_mm: float = 0.0):
        self.grid = grid
        self.edge = float(np.cbrt(np.prod(grid.spacing))) * 1.1
        axes = [
            (np.arange(size) * step + start).astype(np.float32)
            for size, step, start in zip(grid.size, grid.spacing, grid.origin, strict=True)
        ]
        bend = [
            bend_mm
            * (
                0.75 * smooth_field(grid.shape, grid.spacing, 90.0, rng)
                + 0.25 * smooth_field(grid.shape, grid.spacing, 35.0, rng)
            )
            for _ in range(3)
        ]
        self.x = axes[0][None, None, :] + bend[0]
        self.y = axes[1][None, :, None] + bend[1]
        self.z = axes[2][:, None, None] + 0.6 * bend[2]
        self._bend = np.stack([bend[0], bend[1], 0.6 * bend[2]])

    def box(self, points: np.ndarray, reach_mm: float) -> Box | None:
        """The part of the volume within ``reach_mm`` of ``points`` (N, 3); None when that is outside."""
        return self.box_of_voxels(self.voxels(np.atleast_2d(points)), reach_mm)

    def box_of_voxels(self, at: np.ndarray, reach_mm: float) -> Box | None:
        """As ``box``, of voxel positions (N, 3) that ``voxels`` gave."""
        sides = []
        for axis, (size, step) in enumerate(zip(self.grid.size, self.grid.spacing, strict=True)):
            reach = reach_mm / step
            low = max(math.floor(min(at[:, axis]) - reach), 0)
            high = min(math.ceil(max(at[:, axis]) + reach) + 1, size)
            if high <= low:
                return None
            sides.append(slice(low, high))
        return (sides[2], sides[1], sides[0])

    def voxels(self, points: np.ndarray) -> np.ndarray:
        """Continuous voxel indices (N, 3) at which patient coordinates take the values ``points``."""
        origin, spacing = np.asarray(self.grid.origin), np.asarray(self.grid.spacing)
        position = np.asarray(points, dtype=float)
        for _ in range(2):
            nearest = np.clip(
                np.rint((position - origin) / spacing).astype(int), 0, np.asarray(self.grid.size) - 1
            )
            shift = self._bend[:, nearest[:, 2], nearest[:, 1], nearest[:, 0]].T
            position = points - shift
        return (position - origin) / spacing

    def at(self, box: Box) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.x[box], self.y[box], self.z[box]

    def ellipsoid(
        self,
        centre: Sequence[float] | np.ndarray,
        radii: Sequence[float] | np.ndarray,
        turn_deg: float = 0.0,
        box: Box = EVERYWHERE,
    ) -> np.ndarray:
        """Signed distance (mm, about; negative inside) to an ellipsoid turned about the z axis."""
        x, y, z = self.at(box)
        angle = np.deg2rad(turn_deg)
        cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        dx, dy, dz = x - centre[0], y - centre[1], z - centre[2]
        norm = np.sqrt(
            ((cosine * dx + sine * dy) / radii[0]) ** 2
            + ((cosine * dy - sine * dx) / radii[1]) ** 2
            + (dz / radii[2]) ** 2
        )
        return (norm - 1) * np.float32(np.exp(np.mean(np.log(radii))))

    def capsule(self, start: np.ndarray, end: np.ndarray, radii: tuple[float, float], box: Box) -> np.ndarray:
        """Signed distance (mm) to a straight tube whose radius goes from ``radii[0]`` to ``radii[1]``."""
        x, y, z = self.at(box)
        along = np.asarray(end, dtype=float) - start
        length = max(float(along @ along), 1e-6)
        dx, dy, dz = x - start[0], y - start[1], z - start[2]
        t = np.clip((dx * along[0] + dy * along[1] + dz * along[2]) / length, 0, 1)
        gap = np.sqrt((dx - t * along[0]) ** 2 + (dy - t * along[1]) ** 2 + (dz - t * along[2]) ** 2)
        return gap - (radii[0] + t * (radii[1] - radii[0]))

    def tube(
        self, points: np.ndarray, radii: Sequence[float] | np.ndarray | float, reach_mm: float = 25.0
    ) -> np.ndarray:
        """Signed distance (mm) to a smooth tube through ``points`` (N, 3); at most ``reach_mm`` away."""
        points = np.asarray(points, dtype=float)
        widths_at_points = np.broadcast_to(np.asarray(radii, dtype=float), (len(points),))
        fine = np.linspace(0, len(points) - 1, 4 * (len(points) - 1) + 1)
        path = np.stack([_smooth_curve(points[:, axis], fine) for axis in range(3)], axis=1)
        widths = np.interp(fine, np.arange(len(points)), widths_at_points)
        distance = np.full(self.grid.shape, reach_mm, dtype=np.float32)
        for start, end, r0, r1 in zip(path[:-1], path[1:], widths[:-1], widths[1:], strict=True):
            box = self.box(np.stack([start, end]), reach_mm + max(r0, r1))
            if box is not None:
                np.minimum(distance[box], self.capsule(start, end, (r0, r1), box), out=distance[box])
        return distance


def _smooth_curve(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Catmull-Rom interpolation of ``values`` at fractional positions."""
    padded = np.concatenate([[2 * values[0] - values[1]], values, [2 * values[-1] - values[-2]]])
    index = np.minimum(at.astype(int), len(values) - 2)
    t = at - index
    p0, p1, p2, p3 = (padded[index + offset] for offset in range(4))
    return 0.5 * (
        2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    )


def smooth_maximum(a: np.ndarray, b: np.ndarray, rounding_mm: float) -> np.ndarray:
    """The larger of two distances (an intersection) with its crease rounded."""
    return 0.5 * (a + b + np.sqrt((a - b) ** 2 + rounding_mm**2))


def coverage(distance: np.ndarray, edge_mm: float) -> np.ndarray:
    """Share (0..1) of a voxel inside a surface at signed ``distance`` (mm)."""
    return np.clip(0.5 - distance / edge_mm, 0, 1)


def paint(volume: np.ndarray, share: np.ndarray, value: np.ndarray | float, box: Box = EVERYWHERE) -> None:
    """Blend ``value`` (HU) into ``volume`` in place, by the share of each voxel that it fills."""
    part = volume[box]
    part += share * (value - part)
