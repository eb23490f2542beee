"""Vessels, and whatever else is dense and enclosed, belong to the lungs."""

from __future__ import annotations

import numpy as np

from SegDLEngine.preprocessing.lungs.components import fill_holes
from SegDLEngine.preprocessing.lungs.planes import closing


def close_vessels(
    lungs: np.ndarray, spacing: tuple[float, float, float], closing_mm: float, hole_mm2: float
) -> np.ndarray:
    """Every slice closed by a disc and its holes up to ``hole_mm2`` filled; bool (k, j, i).

    The limit leaves the heart out where both lungs meet in front of and behind it.
    """
    closed = closing(lungs, spacing[1:], closing_mm)
    return fill_holes(closed, hole_mm2 / (spacing[1] * spacing[2]))
