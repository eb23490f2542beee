"""Coordinates of the head, with its tilt and with what a tumour pushes aside."""

from __future__ import annotations

import numpy as np
from SegDLEngine.images.grid import Grid

from SegDLTrainingLib.synthesis.space import Space


class HeadSpace(Space):
    """Head coordinates (mm, LPS: x left, y back, z up) with the origin between the thalami.

    ``tilt_deg``: turns about the axes x, y and z, on top of the smooth random bend.
    """

    def __init__(self, grid: Grid, rng: np.random.Generator, bend_mm: float, tilt_deg: np.ndarray):
        super().__init__(grid, rng, bend_mm)
        before = np.stack([self.x, self.y, self.z])
        after = np.tensordot(_rotation(tilt_deg), before, axes=1).astype(np.float32)
        self._move(after - before)

    def push(self, centre: np.ndarray, reach_mm: float, push_mm: float, depth: np.ndarray) -> None:
        """Displace the anatomy outwards from ``centre``, most at ``reach_mm`` and nothing at the surface.

        ``depth`` (k, j, i) is the distance (mm) below the surface of the brain.
        """
        offset = np.stack([self.x - centre[0], self.y - centre[1], self.z - centre[2]])
        relative = np.sqrt((offset**2).sum(axis=0)) / reach_mm
        amount = push_mm / reach_mm * np.exp(0.5 * (1 - relative**2)) * np.clip(depth / 20, 0, 1)
        self._move(-offset * amount.astype(np.float32))

    def _move(self, shift: np.ndarray) -> None:
        """Add ``shift`` (3, k, j, i) to the coordinates, and to the record that finds voxels again."""
        self.x, self.y, self.z = self.x + shift[0], self.y + shift[1], self.z + shift[2]
        self._bend = self._bend + shift


def _rotation(degrees: np.ndarray) -> np.ndarray:
    """Rotation matrix of turns about x, then y, then z."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        turn = np.eye(3)
        first, second = [other for other in range(3) if other != axis]
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix


def sheet_distance(field: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Distance (mm, about) to the surface on which a smooth field (k, j, i) is zero.

    The zero surface of a random field is one folded sheet: it looks like the sulci of a cortex.
    """
    slopes = np.gradient(field, *spacing[::-1])
    steepness = np.sqrt(sum(slope**2 for slope in slopes))
    return np.abs(field) / np.maximum(steepness, 0.02)
