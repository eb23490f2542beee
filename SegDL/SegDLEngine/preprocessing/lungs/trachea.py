"""The trachea, the main airways and bowel gas: small in every slice, and filled with gas."""

from __future__ import annotations

import cc3d
import numpy as np


def find_airways(hu: np.ndarray, small: np.ndarray, gas_hu: float) -> np.ndarray:
    """The components of ``small`` (air whose component is small in its slice) with a median below ``gas_hu``.

    Report 001 drops every small component, which also takes apex, base and thin recesses of the lungs; the
    density tells them apart: gas about -1000 HU, parenchyma about -850 HU.
    """
    labels = cc3d.connected_components(small, connectivity=6, binary_image=True)
    place = np.flatnonzero(small)
    if place.size == 0:
        return np.zeros(small.shape, bool)
    owner = labels.ravel()[place]
    below = hu.ravel()[place] < gas_hu
    counts = np.bincount(owner)
    gas = np.bincount(owner, weights=below) * 2 > counts
    gas[0] = False
    return gas[labels]
