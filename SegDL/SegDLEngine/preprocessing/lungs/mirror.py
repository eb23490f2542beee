"""The lungs mirrored about the spine, so that a collapsed or infiltrated side is covered by the other one."""

from __future__ import annotations

import numpy as np


def overhang(mask: np.ndarray, columns: np.ndarray) -> tuple[int, int]:
    """How many columns the mirror image may reach beyond the left and right edge of ``mask`` (k, j, i)."""
    used = np.flatnonzero(mask.any(axis=(0, 1)))
    if used.size == 0:
        return 0, 0
    low, high = 2 * columns.min() - used[-1], 2 * columns.max() - used[0]
    return max(int(np.ceil(-low)), 0), max(int(np.ceil(high)) - mask.shape[2] + 1, 0)


def mirror_union(mask: np.ndarray, columns: np.ndarray, first: int = 0) -> np.ndarray:
    """``mask`` (k, j, i) or its mirror image in each slice ``first + t`` about column ``columns[t]`` (float).

    A superset of the mask, symmetric about each axis to one pixel; what would fall outside the image is lost.
    """
    result = mask.copy()
    width = mask.shape[2]
    for t, column in enumerate(columns):
        shift = round(2 * float(column)) - (width - 1)
        mirrored = mask[first + t, :, ::-1]
        if shift >= 0:
            result[first + t, :, shift:] |= mirrored[:, : max(width - shift, 0)]
        else:
            result[first + t, :, :shift] |= mirrored[:, -shift:]
    return result
