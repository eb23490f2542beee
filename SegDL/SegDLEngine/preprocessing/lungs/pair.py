"""The two lungs among the components of air."""

from __future__ import annotations

import numpy as np

from SegDLEngine.images.cropping import occupied
from SegDLEngine.preprocessing.lungs.components import label


def keep_pair(
    air: np.ndarray,
    hu: np.ndarray,
    minimum_ratio: float,
    remnant_ratio: float | None,
    gas_hu: float,
) -> tuple[np.ndarray, list[int]]:
    """The largest component and its partners, bool (k, j, i), and their voxel counts, descending.

    Components whose median is below ``gas_hu`` are stomach or bowel, not lung.  The partner is the largest
    other component whose size is in (``minimum_ratio``, 1] of the first; equal sizes keep both.  Beyond
    report 001, components above ``remnant_ratio`` of the first are kept too, the aerated rest of a collapsed
    or consolidated lung; None turns that off.
    """
    box = occupied(air)
    pair = np.zeros(air.shape, bool)
    if box is None:
        return pair, []
    labels, count = label(air[box])
    counts = np.bincount(labels.ravel(), minlength=count + 1)
    counts[0] = 0
    kept: list[int] = []
    for number in np.argsort(-counts, kind="stable"):
        ratio = counts[number] / counts[kept[0]] if kept else float(counts[number] > 0)
        partner = ratio > minimum_ratio and len(kept) < 2
        if not partner and (remnant_ratio is None or ratio <= remnant_ratio):
            break
        part = labels == number
        if float(np.median(hu[box][part])) > gas_hu:
            kept.append(int(number))
            pair[box] |= part
    return pair, [int(counts[number]) for number in kept]
