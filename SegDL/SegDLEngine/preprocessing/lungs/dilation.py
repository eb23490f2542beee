"""The margin around the lungs: a disc in every slice, and copies of the end slices."""

from __future__ import annotations

import numpy as np

from SegDLEngine.preprocessing.lungs.planes import dilate


def add_margin(
    mask: np.ndarray, spacing: tuple[float, float, float], radius_mm: float, end_mm: float
) -> np.ndarray:
    """``mask`` (k, j, i) dilated by a disc of ``radius_mm`` in every slice, its first and last slice repeated
    over ``end_mm`` (as far as the volume goes)."""
    grown = dilate(mask, spacing[1:], radius_mm)
    slices = np.flatnonzero(grown.any(axis=(1, 2)))
    if slices.size:
        first, last = int(slices[0]), int(slices[-1])
        count = round(end_mm / spacing[0])
        grown[max(first - count, 0) : first] = grown[first]
        grown[last + 1 : last + 1 + count] = grown[last]
    return grown
