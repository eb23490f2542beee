"""A very small CT for tests: lung with one dense block, 32x32x6 voxels of 1x1x3 mm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image

GRID = Grid((32, 32, 6), (1.0, 1.0, 3.0), (-16.0, -20.0, 100.0))


def tiny_ct() -> Image:
    """int16 HU: -800, and 40 in a block of 10x10x2 voxels."""
    array = np.full(GRID.shape, -800, np.int16)
    array[2:4, 10:20, 8:18] = 40
    return Image(array, GRID, modality="CT", unit="HU")


def write_tiny_ct(path: Path) -> Path:
    from SegDLEngine.images.writing import write_image

    write_image(tiny_ct(), path)
    return path
