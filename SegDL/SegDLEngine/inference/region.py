"""A region of interest: a box along the patient's axes.

It is given as (r_min, r_max, a_min, a_max, s_min, s_max), millimetres in RAS.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from SegDLEngine.images.cropping import Box
from SegDLEngine.images.grid import Grid


def inside_region(grid: Grid, region: Sequence[float]) -> np.ndarray:
    """bool (k, j, i): voxels whose centre lies in the region."""
    inside = np.ones(grid.shape, bool)
    j, i = np.arange(grid.size[1])[:, None], np.arange(grid.size[0])
    for axis, row in enumerate(grid.ijk_to_ras[:3]):
        first = row[0] * i + row[1] * j + row[3]
        for k in range(grid.size[2]):
            place = first + row[2] * k
            inside[k] &= (place >= region[2 * axis]) & (place <= region[2 * axis + 1])
    return inside


def region_box(
    grid: Grid,
    region: Sequence[float],
    margin: Sequence[int],
    multiple: Sequence[int],
    least: Sequence[int] = (1, 1, 1),
) -> Box | None:
    """Start and size (i, j, k) of the part of ``grid`` that a network needs to see for the region.

    The region's voxels, ``margin`` voxels more on each side, begun at a multiple of ``multiple`` so that a
    network that halves its resolution sees the same pairs of voxels; ``least`` voxels if the grid has them.
    None if the region misses the grid.
    """
    choice = np.array(np.meshgrid([0, 1], [2, 3], [4, 5])).reshape(3, -1).T
    lps = np.asarray(region, dtype=float)[choice] * [-1, -1, 1]
    corners = grid.to_index(lps)
    low, high = np.ceil(corners.min(axis=0)), np.floor(corners.max(axis=0)) + 1
    if np.any(high <= 0) or np.any(low >= grid.size) or np.any(high <= low):
        return None
    low = np.clip(low - margin, 0, grid.size).astype(int)
    high = np.clip(high + margin, 0, grid.size).astype(int)
    length = np.maximum(high - low, np.minimum(least, grid.size))
    low = np.clip(low - (length - (high - low)) // 2, 0, grid.size - length)
    high = low + length
    low = low // multiple * np.asarray(multiple)
    return tuple(low.tolist()), tuple((high - low).tolist())
