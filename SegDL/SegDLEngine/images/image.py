"""An image: a scalar array that never travels without its grid."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from SegDLEngine.images.grid import Grid


@dataclass(frozen=True, eq=False)
class Image:
    """Voxels ``array`` of shape (k, j, i) on ``grid``; ``unit`` such as HU, SUV, BQML or ''.

    ``metadata`` holds what a reader found (source path, DICOM identifiers); it identifies, it does not
    steer the computation.
    """

    array: np.ndarray
    grid: Grid
    modality: str = ""
    unit: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.array.shape != self.grid.shape:
            raise ValueError(f"array shape {self.array.shape} is not the grid's {self.grid.shape} (k, j, i)")

    def with_array(self, array: np.ndarray, grid: Grid | None = None) -> Image:
        """The same image with other voxels, and another grid if given."""
        return replace(self, array=array, grid=grid or self.grid)
