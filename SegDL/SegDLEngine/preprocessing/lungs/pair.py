"""The two lungs among the components of air."""

from __future__ import annotations

import numpy as np

from SegDLEngine.preprocessing.lungs.components import label


def keep_pair(
    air: np.ndarray,
    hu: np.ndarray,
    minimum_ratio: float,
    remnant_ratio: float | None,
    gas_hu: float,
) -> tuple[np.ndarray, list[int]]:
    """The largest component and its partner, bool (k, j, i), and their voxel counts (one or two or none).

    The partner is the largest other component whose size is in (``minimum_ratio``, 1] of the first; equal
    sizes keep both.  Beyond report 001, a smaller one above ``remnant_ratio`` is kept too if its mean density
    is above ``gas_hu``: the aerated rest of a collapsed lung, but not stomach or bowel gas.  None turns that
    off.
    """
    labels, counts = label(air)
    counts[0] = 0
    order = np.argsort(-counts, kind="stable")
    if counts.max() == 0:
        return np.zeros(air.shape, bool), []
    kept = [int(order[0])]
    for number in order[1:]:
        ratio = counts[number] / counts[kept[0]]
        if ratio <= (minimum_ratio if remnant_ratio is None else remnant_ratio):
            break
        if ratio > minimum_ratio or float(hu[labels == number].mean()) > gas_hu:
            kept.append(int(number))
            break
    chosen = np.zeros(counts.size, bool)
    chosen[kept] = True
    return chosen[labels], [int(counts[number]) for number in kept]
