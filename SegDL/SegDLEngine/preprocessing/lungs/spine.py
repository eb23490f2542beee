"""The spine axis: where the bone behind the lungs, projected on the coronal plane, is densest in each slice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SegDLEngine.preprocessing.lungs.planes import closing, opening

CUT_REACH_MM = 40.0
MARROW_MM = 5.0
VERTEBRA_MM = 8.0


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
    bone: np.ndarray, low: int, high: int, terms: int
) -> tuple[np.ndarray, np.ndarray]:
    """Centre column of each slice of ``bone`` (k, j, i) between columns ``low`` and ``high``.

    Returns (x_t float (k,), NaN without bone; mean bone row (k,)).  The column sums pass a centred moving
    average of ``terms`` columns; of a plateau the middle counts, so that the position is not biased.
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
        end = top
        while end + 1 < filtered.size and filtered[end + 1] >= filtered[top] * (1 - 1e-9):
            end += 1
        centres[k] = low + (top + end) / 2
        middle = int(centres[k])
        column = bone[k, :, max(middle - terms, 0) : middle + terms + 1].sum(axis=1)
        if column.any():
            rows[k] = np.average(np.arange(column.size), weights=column)
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


def _vertebrae(bone: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Bone closed over its marrow and opened by a disc that ribs do not hold."""
    return opening(closing(bone, spacing[1:], MARROW_MM), spacing[1:], VERTEBRA_MM)


def find_spine(
    hu: np.ndarray,
    body: np.ndarray,
    lungs: np.ndarray,
    *,
    bone_hu: float,
    behind: float,
    terms: int,
    half_width: float,
    start_slices: int,
    alpha: float,
    spacing: tuple[float, float, float],
    cut: bool,
) -> SpineAxis | None:
    """The axis in the slices of the lungs; None if there is no bone behind them.

    Bone is HU > ``bone_hu`` inside ``body`` (which has no couch) in the rows behind the fraction ``behind`` of
    the lungs, where no contrast-filled heart or aorta lies beside the vertebrae; it is sought within ``half_width`` of the body's width on either side of the body's middle.  Where the field of view
    cuts the lungs (``cut``) the body's middle says nothing: bone thinner than a vertebra is then opened away,
    and the columns within ``CUT_REACH_MM`` of the volume's densest one are searched.
    """
    slices = np.flatnonzero(lungs.any(axis=(1, 2)))
    if slices.size == 0:
        return None
    first, last = int(slices[0]), int(slices[-1]) + 1
    row_sums = lungs.sum(axis=(0, 2))
    top_row = int(np.searchsorted(np.cumsum(row_sums), behind * row_sums.sum()))
    bone = (hu[first:last, top_row:] > bone_hu) & body[first:last, top_row:]
    if cut:
        bone = _vertebrae(bone, spacing)
        middle = float(np.argmax(np.convolve(bone.sum(axis=(0, 1)), np.ones(terms), mode="same")))
        reach = CUT_REACH_MM / spacing[2]
    else:
        columns = np.flatnonzero(body[first:last].any(axis=(0, 1)))
        middle = (columns[0] + columns[-1]) / 2
        reach = half_width * (columns[-1] + 1 - columns[0])
    low, high = max(int(np.floor(middle - reach)), 0), int(np.ceil(middle + reach)) + 1
    measured, rows = project(bone, low, high, terms)
    smoothed = smooth(measured, start_slices, alpha)
    if not np.isfinite(smoothed).any():
        return None
    return SpineAxis(first, measured, smoothed, rows + top_row)
