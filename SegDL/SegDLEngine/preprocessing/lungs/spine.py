"""The spine axis: where the bone behind the lungs, projected on the coronal plane, is densest in each slice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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


def find_spine(
    hu: np.ndarray,
    body: np.ndarray,
    lungs: np.ndarray,
    *,
    bone_hu: float,
    terms: int,
    half_width: float,
    start_slices: int,
    alpha: float,
    whole_width: bool,
) -> SpineAxis | None:
    """The axis in the slices of the lungs; None if there is no bone behind their centre.

    Bone is HU > ``bone_hu`` inside ``body`` (which has no couch) behind the lungs' centre row; it is sought
    within ``half_width`` of the body's width on either side of the body's middle, or in every column where
    the field of view cuts the body (``whole_width``).
    """
    slices = np.flatnonzero(lungs.any(axis=(1, 2)))
    if slices.size == 0:
        return None
    first, last = int(slices[0]), int(slices[-1]) + 1
    row_sums = lungs.sum(axis=(0, 2))
    centre_row = int(np.average(np.arange(row_sums.size), weights=row_sums))
    inside = body[first:last, centre_row:]
    bone = (hu[first:last, centre_row:] > bone_hu) & inside
    columns = np.flatnonzero(body[first:last].any(axis=(0, 1)))
    low, high = int(columns[0]), int(columns[-1]) + 1
    if not whole_width:
        middle, reach = (low + high) / 2, half_width * (high - low)
        low, high = int(np.floor(middle - reach)), int(np.ceil(middle + reach))
    measured, rows = project(bone, low, high, terms)
    smoothed = smooth(measured, start_slices, alpha)
    if not np.isfinite(smoothed).any():
        return None
    return SpineAxis(first, measured, smoothed, rows + centre_row)
