"""Distances between the surfaces of two masks, in millimetres.

The surface of a mask are its voxels with a background voxel, or the edge of the image, at one of six sides.
Distances run between voxel centres, to the nearest surface voxel of the other mask.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from SegDLEngine.images.cropping import occupied


def surface_distances(
    reference: np.ndarray, prediction: np.ndarray, spacing: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Distances from each surface voxel of the reference to the prediction's surface, and back.

    ``reference``, ``prediction``: bool (k, j, i), both not empty; ``spacing``: mm along (i, j, k).
    """
    box = occupied(reference | prediction)
    surfaces = [_surface(mask[box]) for mask in (reference, prediction)]
    fields = [_distance_to(surface, spacing) for surface in surfaces]
    return fields[1][surfaces[0]], fields[0][surfaces[1]]


def surface_metrics(
    reference: np.ndarray, prediction: np.ndarray, spacing: Sequence[float]
) -> dict[str, float | None]:
    """``hd95_mm`` and ``mean_surface_distance_mm``.

    HD95 is the larger of the 95th percentiles of both directions; the mean is taken over all surface voxels
    of both masks.  Two empty masks have distance 0; if only one is empty there is none (None).
    """
    empty = [not mask.any() for mask in (reference, prediction)]
    if any(empty):
        value = 0.0 if all(empty) else None
        return {"hd95_mm": value, "mean_surface_distance_mm": value}
    there, back = surface_distances(reference, prediction, spacing)
    return {
        "hd95_mm": float(max(np.percentile(there, 95), np.percentile(back, 95))),
        "mean_surface_distance_mm": float(np.concatenate([there, back]).mean(dtype=np.float64)),
    }


def boundary_dice(reference: np.ndarray, prediction: np.ndarray) -> float:
    """Dice of the two surfaces, voxel by voxel; 1 for two empty masks.

    A surface is the mask XOR its erosion by the six neighbours (report 000, section 3.3, which leaves the
    neighbourhood open).
    """
    box = occupied(reference | prediction)
    if box is None:
        return 1.0
    first, second = (_surface(mask[box]) for mask in (reference, prediction))
    shared = np.count_nonzero(first & second)
    return float(2 * shared / (np.count_nonzero(first) + np.count_nonzero(second)))


def _surface(mask: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, 1)
    inner = mask.copy()
    for axis in range(3):
        for shift in (0, 2):
            place = [slice(1, -1)] * 3
            place[axis] = slice(shift, shift + mask.shape[axis])
            inner &= padded[tuple(place)]
    return mask & ~inner


def _distance_to(surface: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    import edt

    anisotropy = tuple(float(value) for value in reversed(spacing))
    return edt.edt(np.ascontiguousarray(~surface), anisotropy=anisotropy, black_border=False, parallel=2)
