"""A prediction against its reference, label by label."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from SegDLEngine.errors import InputError
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.measurement.overlap import lesion_detection, overlap, soft_dice
from SegDLEngine.measurement.surface import boundary_dice, surface_metrics

# Rounding in files and interpolation may leave probabilities this little outside of 0..1.
_ROUNDING = 1e-3

Warn = Callable[[str, str], None]


def evaluate(
    reference: Image,
    prediction: Image,
    *,
    reference_labels: Sequence[int] | None = None,
    prediction_labels: Sequence[int] | None = None,
    probabilities: Mapping[int | None, Image] | None = None,
    warn: Warn | None = None,
) -> list[dict[str, Any]]:
    """One row of figures for each label of two labelmaps.

    With ``reference_labels`` or ``prediction_labels`` these values together are the foreground of that image
    (all values > 0 where not given), and there is one row, with ``label`` None.

    ``probabilities`` gives the volumes (0..1) of which the soft Dice is taken, by label; that of None belongs
    to the joined foreground, or to the only label there is.  ``soft_dice`` is None without one.

    A prediction or probability on another grid is resampled to the reference (nearest voxel, linear) and
    ``warn`` hears of it.  Raises InputError when the two do not meet anywhere.
    """
    prediction = _on_grid(prediction, reference, "prediction", "nearest", warn)
    if reference_labels or prediction_labels:
        pairs = {
            None: (
                _foreground(reference.array, reference_labels),
                _foreground(prediction.array, prediction_labels),
            )
        }
    else:
        values = {*np.unique(reference.array).tolist(), *np.unique(prediction.array).tolist()} - {0}
        values |= set(probabilities or ()) - {None}
        pairs = {
            value: (reference.array == value, prediction.array == value) for value in sorted(values) or [1]
        }
    volumes = _probabilities(probabilities or {}, pairs, reference, warn)
    return [_row(label, *masks, volumes.get(label), reference) for label, masks in pairs.items()]


def absent_row(label: int | None) -> dict[str, Any]:
    """The row of a label that neither image of a case has: two empty masks."""
    empty = np.zeros((1, 1, 1), bool)
    return _row(label, empty, empty, None, Image(empty, Grid((1, 1, 1))))


def _row(
    label: int | None,
    reference: np.ndarray,
    prediction: np.ndarray,
    probability: np.ndarray | None,
    image: Image,
) -> dict[str, Any]:
    grid = image.grid
    return {
        "label": label,
        **overlap(reference, prediction, grid.voxel_ml),
        "soft_dice": None if probability is None else soft_dice(reference, probability),
        "boundary_dice": boundary_dice(reference, prediction),
        **surface_metrics(reference, prediction, grid.spacing),
        **lesion_detection(reference, prediction, grid.voxel_ml),
    }


def _probabilities(
    given: Mapping[int | None, Image],
    labels: Collection[int | None],
    reference: Image,
    warn: Warn | None,
) -> dict[int | None, np.ndarray]:
    """The volumes by the label of their row, on the reference's grid; raises InputError."""
    volumes = {}
    for key, image in given.items():
        label = next(iter(labels)) if key is None and len(labels) == 1 else key
        if label not in labels:
            known = ", ".join(map(str, labels)) if None not in labels else "the joined labels"
            raise InputError(
                "A probability volume does not say its label."
                if key is None
                else f"A probability volume is given for label {key}, which has no row of its own.",
                hint=f"Rows there are for: {known}; write LABEL=FILE.",
            )
        array = _on_grid(image, reference, "probability volume", "linear", warn).array
        if array.min() < -_ROUNDING or array.max() > 1 + _ROUNDING or not np.isfinite(array).all():
            raise InputError(
                f"The probability volume has values from {array.min():g} to {array.max():g}.",
                hint="Give probabilities from 0 to 1, such as the file of segdl segment --mean.",
            )
        volumes[label] = np.clip(array, 0, 1)
    return volumes


def _foreground(array: np.ndarray, labels: Sequence[int] | None) -> np.ndarray:
    return np.isin(array, labels) if labels else array > 0


def _on_grid(image: Image, reference: Image, name: str, interpolation: str, warn: Warn | None) -> Image:
    if image.grid.matches(reference.grid):
        return image
    from SegDLEngine.images.resampling import resample

    if not _boxes_meet(image, reference):
        raise InputError(
            f"Reference and {name} do not overlap in space.",
            hint="Check that both belong to the same image.",
        )
    if warn is not None:
        how = "nearest voxel" if interpolation == "nearest" else interpolation
        warn("grid", f"The {name} has another grid; it is resampled to the reference ({how}).")
    return resample(image, reference.grid, interpolation=interpolation, outside=0)


def _boxes_meet(first: Image, second: Image) -> bool:
    corners = [image.grid.corners() for image in (first, second)]
    low = np.max([points.min(axis=0) for points in corners], axis=0)
    high = np.min([points.max(axis=0) for points in corners], axis=0)
    return bool(np.all(low < high))
