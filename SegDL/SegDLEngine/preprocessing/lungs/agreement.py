"""How well lungs agree with reference labels; of an isolation also after mirroring and margin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from SegDLEngine.errors import InputError
from SegDLEngine.images.image import Image
from SegDLEngine.preprocessing.lungs.isolation import LungIsolation
from SegDLEngine.preprocessing.lungs.lung_mask import LungMask


def agreement(found: LungIsolation | LungMask, labels: Image, values: Sequence[int]) -> dict[str, Any]:
    """Coverage (share of the reference that lies inside) and Dice of lungs and region, as plain data.

    The reference is where ``labels`` has one of ``values``; ``coverage_by_value`` is of the region.  Raises
    InputError when the labels lie on another grid or hold none of the values.
    """
    reference = reference_mask(labels, values, found.mask)
    lungs, region = found.lungs.array > 0, found.mask.array > 0
    return {
        "values": [int(value) for value in values],
        "dice_before": dice(lungs, reference),
        "dice_after": dice(region, reference),
        "coverage_before": coverage(lungs, reference),
        "coverage_after": coverage(region, reference),
        "coverage_by_value": {
            str(value): coverage(region, labels.array == value)
            for value in values
            if (labels.array == value).any()
        },
    }


def reference_mask(labels: Image, values: Sequence[int], image: Image) -> np.ndarray:
    """bool (k, j, i): where ``labels`` has one of ``values``; raises InputError unless it lies on the grid of
    ``image`` and holds one."""
    if not labels.grid.matches(image.grid):
        raise InputError(
            "The reference labels are not on the grid of the CT.", hint="Resample them to the CT first."
        )
    reference = np.isin(labels.array, values)
    if not reference.any():
        raise InputError(f"The reference labels have no voxel of value {', '.join(map(str, values))}.")
    return reference


def coverage(mask: np.ndarray, reference: np.ndarray) -> float:
    """Share of the reference, which is not empty, that lies in the mask."""
    return round(float(np.count_nonzero(mask & reference) / np.count_nonzero(reference)), 6)


def dice(mask: np.ndarray, reference: np.ndarray) -> float:
    """Dice of two masks; 1 of two empty ones."""
    total = int(np.count_nonzero(mask)) + int(np.count_nonzero(reference))
    return round(2 * int(np.count_nonzero(mask & reference)) / total, 6) if total else 1.0
