"""How well an isolation agrees with reference labels, before and after mirroring and margin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from SegDLEngine.errors import InputError
from SegDLEngine.images.image import Image
from SegDLEngine.preprocessing.lungs.isolation import LungIsolation


def agreement(isolation: LungIsolation, labels: Image, values: Sequence[int]) -> dict[str, Any]:
    """Coverage (share of the reference that lies inside) and Dice of lungs and region, as plain data.

    The reference is where ``labels`` has one of ``values``; ``coverage_by_value`` is of the region.  Raises
    InputError when the labels lie on another grid or hold none of the values.
    """
    if not labels.grid.matches(isolation.mask.grid):
        raise InputError(
            "The reference labels are not on the grid of the CT.", hint="Resample them to the CT first."
        )
    reference = np.isin(labels.array, values)
    if not reference.any():
        raise InputError(f"The reference labels have no voxel of value {', '.join(map(str, values))}.")
    lungs, region = isolation.lungs.array > 0, isolation.mask.array > 0
    return {
        "values": [int(value) for value in values],
        "dice_before": _dice(lungs, reference),
        "dice_after": _dice(region, reference),
        "coverage_before": _coverage(lungs, reference),
        "coverage_after": _coverage(region, reference),
        "coverage_by_value": {
            str(value): _coverage(region, labels.array == value)
            for value in values
            if (labels.array == value).any()
        },
    }


def _coverage(mask: np.ndarray, reference: np.ndarray) -> float:
    return round(np.count_nonzero(mask & reference) / np.count_nonzero(reference), 6)


def _dice(mask: np.ndarray, reference: np.ndarray) -> float:
    both = np.count_nonzero(mask & reference)
    return round(2 * both / (np.count_nonzero(mask) + np.count_nonzero(reference)), 6)
