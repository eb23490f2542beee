"""The spine axis: where the bone behind the lungs, projected on the coronal plane, is densest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SegDLEngine.preprocessing.lungs.components import fill_holes
from SegDLEngine.preprocessing.lungs.planes import closing, opening

MARROW_MM = 5.0
CANAL_MM2 = 1000.0
RIB_MM = 6.0
CUT_REACH_MM = 40.0


@dataclass(frozen=True)
class SpineAxis:
    """Per slice from ``first`` on (the lung slices, from the feet upwards), in columns of the patient order.

    ``measured``: x_t, NaN in slices without bone there; ``smoothed``: S_t, float; ``rows``: mean row of the
    bone that was projected, for display.
    """

    first: int
    measured: np.ndarray
    smoothed: np.ndarray
    rows: np.ndarray


def project(
    bone: np.ndarray, low: int, high: int, terms: int, plateau: float
) -> tuple[np.ndarray, np.ndarray]:
    """Centre column of each slice of ``bone`` (k, j, i) between columns ``low`` and ``high`` (excluded).

    Returns (x_t float (k,), mean bone row (k,)), NaN without bone.  The column sums pass a centred moving
    average of ``terms`` columns; x_t is the middle of the run of columns around the highest one that reach
    ``plateau`` of it, so that neither ties nor the two edges of a vertebra bias it.
    """
    sums = bone.sum(axis=1, dtype=np.int32).astype(float)
    kernel = np.ones(terms) / terms
    centres = np.full(bone.shape[0], np.nan)
    rows = np.full(bone.shape[0], np.nan)
    for k, line in enumerate(sums):
        filtered = np.convolve(line, kernel, mode="same")[low:high]
        if filtered.size == 0 or filtered.max() <= 0:
            continue
        top = int(np.argmax(filtered))
        lower = np.flatnonzero(filtered < (plateau - 1e-9) * filtered[top])
        after = int(np.searchsorted(lower, top))
        start = lower[after - 1] + 1 if after else 0
        end = lower[after] - 1 if after < lower.size else filtered.size - 1
        centres[k] = low + (start + end) / 2
        below = np.flatnonzero(bone[k, :, low + start : low + end + 1].any(axis=1))
        rows[k] = below.mean() if below.size else np.nan
    return centres, rows


def smooth(measured: np.ndarray, start_slices: int, alpha: float) -> np.ndarray:
    """S_t = alpha x_t + (1 - alpha) S_(t-1), begun with S_0, the mean of the first ``start_slices`` x_t.

    Kept as float; a slice without x_t (NaN) keeps the position of the slice before.
    """
    known = measured[np.isfinite(measured)]
    if known.size == 0:
        return np.full(measured.shape, np.nan)
    state = float(known[:start_slices].mean())
    result = np.empty(measured.shape)
    for t, value in enumerate(measured):
        if np.isfinite(value):
            state = alpha * float(value) + (1 - alpha) * state
        result[t] = state
    return result


def find_vertebrae(
    hu: np.ndarray,
    body: np.ndarray,
    lungs: np.ndarray,
    spacing: tuple[float, float, float],
    bone_hu: float,
    depth_mm: float,
) -> np.ndarray:
    """Solid bone behind the lungs, bool (k, j, i) for slices that all hold lung.

    Bone is HU > ``bone_hu`` inside the body (which has no couch), from ``depth_mm`` in front of the lungs'
    hindmost row of the slice on: there a contrast-filled heart or aorta does not stand in for bone.  Marrow
    and spinal canal are closed, then what is as thin as a rib is opened away.
    """
    depth = int(depth_mm / spacing[1])
    last_rows = lungs.shape[1] - 1 - np.argmax(np.any(lungs, axis=2)[:, ::-1], axis=1)
    bone = (hu > bone_hu) & body
    for k, row in enumerate(last_rows):
        bone[k, : max(int(row) - depth, 0)] = False
    solid = fill_holes(closing(bone, spacing[1:], MARROW_MM), CANAL_MM2 / (spacing[1] * spacing[2]))
    return opening(solid, spacing[1:], RIB_MM)


def find_spine(
    hu: np.ndarray,
    body: np.ndarray,
    lungs: np.ndarray,
    spacing: tuple[float, float, float],
    *,
    bone_hu: float,
    depth_mm: float,
    terms: int,
    plateau: float,
    half_width: float,
    start_slices: int,
    alpha: float,
    cut: bool,
) -> SpineAxis | None:
    """The axis in the slices of the lungs; None if there is no bone behind them.

    It is sought within ``half_width`` of the body's width on either side of the body's middle.  Where the
    field of view cuts the lungs (``cut``) the body's middle says nothing: then the columns within
    ``CUT_REACH_MM`` of the densest one of the whole volume are searched.
    """
    slices = np.flatnonzero(lungs.any(axis=(1, 2)))
    if slices.size == 0:
        return None
    span = slice(int(slices[0]), int(slices[-1]) + 1)
    bone = find_vertebrae(hu[span], body[span], lungs[span], spacing, bone_hu, depth_mm)
    if cut:
        middle = float(np.argmax(np.convolve(bone.sum(axis=(0, 1)), np.ones(terms), mode="same")))
        reach = CUT_REACH_MM / spacing[2]
    else:
        columns = np.flatnonzero(body[span].any(axis=(0, 1)))
        middle = (columns[0] + columns[-1]) / 2
        reach = half_width * (columns[-1] + 1 - columns[0])
    low, high = max(int(np.floor(middle - reach)), 0), int(np.ceil(middle + reach)) + 1
    measured, rows = project(bone, low, high, terms, plateau)
    smoothed = smooth(measured, start_slices, alpha)
    return SpineAxis(span.start, measured, smoothed, rows) if np.isfinite(smoothed).any() else None
