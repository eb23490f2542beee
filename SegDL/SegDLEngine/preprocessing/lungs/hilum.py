"""The hollow of each lung towards the hilum, where a tumour may lie that neither lung encloses."""

from __future__ import annotations

import numpy as np

from SegDLEngine.preprocessing.lungs.planes import dilate


def add_hilum(
    lungs: np.ndarray,
    columns: np.ndarray | None,
    first: int,
    spacing: tuple[float, float, float],
    reach_mm: float,
) -> np.ndarray:
    """``lungs`` (k, j, i) with what lies in the convex hull of its lung in the slice and within ``reach_mm``.

    The lungs of slice ``first + t`` are told apart at column ``columns[t]``; None takes them as one.  Not in
    report 001: its mirrored union and closing leave out part of a tumour that displaces the medial border of
    a lung whose other side is as hollow there, or is cut off by the field of view.
    """
    hull = np.zeros_like(lungs)
    for k in np.flatnonzero(lungs.any(axis=(1, 2))):
        split = 0
        if columns is not None and first <= k < first + len(columns):
            split = int(np.clip(round(float(columns[k - first])), 0, lungs.shape[2]))
        _fill_hull(lungs[k, :, :split], hull[k, :, :split])
        _fill_hull(lungs[k, :, split:], hull[k, :, split:])
    return lungs | (hull & dilate(lungs, spacing[1:], reach_mm))


def _fill_hull(plane: np.ndarray, hull: np.ndarray) -> None:
    """Set in ``hull`` every pixel centre within the convex hull of the pixel centres of ``plane`` (j, i)."""
    rows = np.flatnonzero(plane.any(axis=1))
    if rows.size == 0:
        return
    used = plane[rows]
    left = np.argmax(used, axis=1)
    right = plane.shape[1] - 1 - np.argmax(used[:, ::-1], axis=1)
    every = np.arange(rows[0], rows[-1] + 1)
    low = np.ceil(_convex_minorant(rows, left, every) - 1e-6)
    high = np.floor(-_convex_minorant(rows, -right, every) + 1e-6)
    across = np.arange(plane.shape[1])
    hull[every] = (across >= low[:, None]) & (across <= high[:, None])


def _convex_minorant(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The largest convex function below the points (x ascending, y), evaluated at ``at``."""
    kept: list[tuple[int, int]] = []
    for point in zip(x.tolist(), y.tolist(), strict=True):
        while len(kept) > 1:
            (ax, ay), (bx, by) = kept[-2], kept[-1]
            if (bx - ax) * (point[1] - ay) > (by - ay) * (point[0] - ax):
                break
            kept.pop()
        kept.append(point)
    return np.interp(at, [point[0] for point in kept], [point[1] for point in kept])
