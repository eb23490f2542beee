"""Air inside the body, grown from the cores of the lungs."""

from __future__ import annotations

import numpy as np

from SegDLEngine.preprocessing.lungs.components import label


def grow(seeds: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Region growing in the volume: the 6-connected parts of ``allowed`` that hold a seed; bool (k, j, i)."""
    labels, count = label(allowed)
    reached = np.zeros(count + 1, bool)
    reached[labels[seeds & allowed]] = True
    reached[0] = False
    return reached[labels]
