"""Arrays in the patient's order: k superior, j posterior, i left, whatever order the image is stored in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SegDLEngine.images.grid import Grid


@dataclass(frozen=True)
class PatientOrder:
    """How an image's array axes map to (superior, posterior, left), the nearest ones of an oblique grid.

    ``axes``: the array axes of the patient order; ``flips``: which of them run the other way.
    """

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    @classmethod
    def of(cls, grid: Grid) -> PatientOrder:
        strength = np.abs(grid.axes).copy()
        axes, flips = [0, 0, 0], [False, False, False]
        for _ in range(3):
            patient, image = np.unravel_index(int(np.argmax(strength)), (3, 3))
            strength[patient, :] = -1.0
            strength[:, image] = -1.0
            axes[2 - patient] = 2 - int(image)
            flips[2 - patient] = bool(grid.axes[patient, image] < 0)
        return cls((axes[0], axes[1], axes[2]), (flips[0], flips[1], flips[2]))

    def _flip(self, array: np.ndarray) -> np.ndarray:
        return array[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]

    def to_patient(self, array: np.ndarray) -> np.ndarray:
        """The array in patient order, contiguous."""
        return np.ascontiguousarray(self._flip(array.transpose(self.axes)))

    def from_patient(self, array: np.ndarray) -> np.ndarray:
        """The array back in the image's own order, contiguous."""
        return np.ascontiguousarray(self._flip(array).transpose(np.argsort(self.axes)))

    def spacing(self, grid: Grid) -> tuple[float, float, float]:
        """Spacing in mm along (k, j, i) of the patient order."""
        own = grid.spacing[::-1]
        return own[self.axes[0]], own[self.axes[1]], own[self.axes[2]]

    def grid(self, grid: Grid) -> Grid:
        """The grid of an image whose array is in patient order: the same voxels at the same places."""
        own = np.asarray([2 - axis for axis in self.axes[::-1]])
        ends = np.asarray(self.flips[::-1])
        axes = grid.axes[:, own] * np.where(ends, -1.0, 1.0)
        corner = np.zeros((1, 3))
        corner[0, own] = np.where(ends, np.asarray(grid.size)[own] - 1, 0)
        size, spacing = np.asarray(grid.size)[own], np.asarray(grid.spacing)[own]
        return Grid(tuple(size), tuple(spacing), tuple(grid.to_physical(corner)[0]), tuple(axes.ravel()))

    def to_image_index(self, kji: np.ndarray, grid: Grid) -> np.ndarray:
        """Image indices (N, 3) as (i, j, k) of patient-ordered indices (N, 3) as (k, j, i)."""
        own = np.empty_like(np.asarray(kji, dtype=float))
        for place, (axis, flip) in enumerate(zip(self.axes, self.flips, strict=True)):
            own[:, axis] = grid.shape[axis] - 1 - kji[:, place] if flip else kji[:, place]
        return own[:, ::-1]
