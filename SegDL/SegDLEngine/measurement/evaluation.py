"""A prediction against its reference, label by label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from SegDLEngine.errors import InputError
from SegDLEngine.images.image import Image
from SegDLEngine.measurement.overlap import lesion_detection, overlap
from SegDLEngine.measurement.surface import surface_metrics

Warn = Callable[[str, str], None]


def evaluate(
    reference: Image,
    prediction: Image,
    *,
    reference_labels: Sequence[int] | None = None,
    prediction_labels: Sequence[int] | None = None,
    warn: Warn | None = None,
) -> list[dict[str, Any]]:
    """One row of figures for each label of two labelmaps.

    With ``reference_labels`` or ``prediction_labels`` these values together are the foreground of that image
    (all values > 0 where not given), and there is one row, with ``label`` None.  A prediction on another grid
    is resampled (nearest voxel) to the reference and ``warn`` hears of it.  Raises InputError when the two do
    not meet anywhere.
    """
    prediction = _on_grid(prediction, reference, warn)
    if reference_labels or prediction_labels:
        masks = (
            _foreground(reference.array, reference_labels),
            _foreground(prediction.array, prediction_labels),
        )
        return [_row(None, *masks, reference)]
    values = sorted({*np.unique(reference.array).tolist(), *np.unique(prediction.array).tolist()} - {0})
    return [
        _row(value, reference.array == value, prediction.array == value, reference) for value in values or [1]
    ]


def _row(label: int | None, reference: np.ndarray, prediction: np.ndarray, image: Image) -> dict[str, Any]:
    grid = image.grid
    return {
        "label": label,
        **overlap(reference, prediction, grid.voxel_ml),
        **surface_metrics(reference, prediction, grid.spacing),
        **lesion_detection(reference, prediction, grid.voxel_ml),
    }


def _foreground(array: np.ndarray, labels: Sequence[int] | None) -> np.ndarray:
    return np.isin(array, labels) if labels else array > 0


def _on_grid(prediction: Image, reference: Image, warn: Warn | None) -> Image:
    if prediction.grid.matches(reference.grid):
        return prediction
    from SegDLEngine.images.resampling import resample

    if not _boxes_meet(prediction, reference):
        raise InputError(
            "Reference and prediction do not overlap in space.",
            hint="Check that both belong to the same image.",
        )
    if warn is not None:
        warn("grid", "The prediction has another grid; it is resampled to the reference (nearest voxel).")
    return resample(prediction, reference.grid, interpolation="nearest", outside=0)


def _boxes_meet(first: Image, second: Image) -> bool:
    corners = [image.grid.corners() for image in (first, second)]
    low = np.max([points.min(axis=0) for points in corners], axis=0)
    high = np.min([points.max(axis=0) for points in corners], axis=0)
    return bool(np.all(low < high))
