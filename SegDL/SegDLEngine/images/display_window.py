"""A CT that was saved as it was displayed: Hounsfield units of a window mapped to 0..255."""

from __future__ import annotations

import numpy as np

# A windowed chest CT has dark air and bright bone; less is a mask, a labelmap or another scaling.
MOST_MINIMUM, LEAST_MAXIMUM, WHITE = 100, 128, 255


def is_windowed(array: np.ndarray) -> bool:
    """True if the values look like 8-bit grey values of a display, which Hounsfield units never do."""
    return 0 <= float(array.min()) <= MOST_MINIMUM and LEAST_MAXIMUM <= float(array.max()) <= WHITE


def hounsfield(array: np.ndarray, low: float, high: float) -> np.ndarray:
    """float32 HU of grey values 0..255 that show the window [low, high]."""
    return array.astype(np.float32) * np.float32((high - low) / WHITE) + np.float32(low)
