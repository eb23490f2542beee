"""The grid of an image: where its voxels lie in the patient.

Indices are (i, j, k), i fastest; arrays are indexed [k, j, i].  Physical points are millimetres in LPS
(left, posterior, superior), the convention of DICOM and ITK; ``ijk_to_ras`` gives Slicer's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Grid:
    """Size (voxels), spacing (mm), origin (LPS, mm) and direction (3x3 row-major, columns = axes i, j, k)."""

    size: tuple[int, int, int]
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        for name, count, kind in (
            ("size", 3, int),
            ("spacing", 3, float),
            ("origin", 3, float),
            ("direction", 9, float),
        ):
            value = tuple(kind(item) for item in getattr(self, name))
            if len(value) != count:
                raise ValueError(f"{name} needs {count} numbers, found {len(value)}")
            object.__setattr__(self, name, value)
        if min(self.size) < 1:
            raise ValueError(f"size {self.size} has an axis without voxels")
        if not min(self.spacing) > 0:
            raise ValueError(f"spacing {self.spacing} is not positive")
        if not abs(np.linalg.det(self.axes)) > 1e-6:
            raise ValueError("direction is singular")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Array shape (k, j, i)."""
        return self.size[::-1]

    @property
    def axes(self) -> np.ndarray:
        """3x3 matrix whose columns are the unit vectors of i, j, k in LPS."""
        return np.asarray(self.direction, dtype=float).reshape(3, 3)

    @property
    def ijk_to_lps(self) -> np.ndarray:
        """4x4 matrix from voxel indices to millimetres in LPS."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.axes * np.asarray(self.spacing)
        matrix[:3, 3] = self.origin
        return matrix

    @property
    def ijk_to_ras(self) -> np.ndarray:
        """4x4 matrix from voxel indices to millimetres in RAS, as MRML keeps it."""
        return LPS_TO_RAS @ self.ijk_to_lps

    @classmethod
    def from_ijk_to_ras(cls, matrix: np.ndarray, size: Sequence[int]) -> Grid:
        """The grid of a 4x4 IJK-to-RAS matrix; raises ValueError when an axis has no length."""
        lps = LPS_TO_RAS @ np.asarray(matrix, dtype=float)
        spacing = np.linalg.norm(lps[:3, :3], axis=0)
        if not np.all(spacing > 0):
            raise ValueError("the IJK-to-RAS matrix has an axis without length")
        axes = lps[:3, :3] / spacing
        columns, rows, slices = (int(count) for count in size)
        return cls((columns, rows, slices), tuple(spacing), tuple(lps[:3, 3]), tuple(axes.ravel()))

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(np.prod(self.spacing) * abs(np.linalg.det(self.axes)) / 1000.0)

    def to_physical(self, ijk: np.ndarray) -> np.ndarray:
        """LPS points (N, 3) of voxel indices (N, 3)."""
        matrix = self.ijk_to_lps
        return np.asarray(ijk, dtype=float) @ matrix[:3, :3].T + matrix[:3, 3]

    def to_index(self, points: np.ndarray) -> np.ndarray:
        """Continuous voxel indices (N, 3) of LPS points (N, 3)."""
        inverse = np.linalg.inv(self.ijk_to_lps)
        return np.asarray(points, dtype=float) @ inverse[:3, :3].T + inverse[:3, 3]

    def corners(self) -> np.ndarray:
        """LPS points (8, 3) of the outer corners of the corner voxels."""
        low, high = np.full(3, -0.5), np.asarray(self.size) - 0.5
        choice = np.array(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij")).reshape(3, -1).T
        return self.to_physical(np.where(choice == 1, high, low))

    def crop(self, start: Sequence[int], size: Sequence[int]) -> Grid:
        """The grid of a box that begins at index ``start`` (i, j, k); it may reach outside this grid."""
        origin = self.to_physical(np.asarray([start], dtype=float))[0]
        columns, rows, slices = (int(count) for count in size)
        return Grid((columns, rows, slices), self.spacing, tuple(origin), self.direction)

    def matches(self, other: Grid, tolerance: float = 1e-4) -> bool:
        """True if both have one size and all corners agree within ``tolerance`` of a voxel's side."""
        if self.size != other.size:
            return False
        return bool(np.abs(self.corners() - other.corners()).max() <= tolerance * min(self.spacing))
