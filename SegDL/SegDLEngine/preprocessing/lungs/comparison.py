"""The three lung masks of a CT beside each other, as rows of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from SegDLEngine.errors import ModelError
from SegDLEngine.images.image import Image
from SegDLEngine.preprocessing.lungs.agreement import coverage, dice, reference_mask
from SegDLEngine.preprocessing.lungs.isolation import LungIsolation
from SegDLEngine.preprocessing.lungs.methods import METHODS, find_lungs
from SegDLEngine.preprocessing.lungs.unet import LUNG_MODEL
from SegDLEngine.protocol import Reporter

REGION = "classical region"


def compare_lungs(
    image: Image,
    *,
    labels: Image | None = None,
    values: Sequence[int] | None = None,
    model: str = LUNG_MODEL,
    device: str = "auto",
    reporter: Reporter | None = None,
) -> list[dict[str, Any]]:
    """One row for each method on a CT in HU, and one for the classical region after mirroring and margin.

    Keys: ``mask``, ``lungs_ml``, ``seconds``, ``dice_<method>`` with each method's lungs, ``dice_reference``
    and ``coverage_reference`` with the voxels of ``labels`` that have one of ``values`` (default: any), and
    ``note``.  A method whose model is not installed has None for its figures and says why in its note.
    Raises InputError for labels on another grid or without the values.
    """
    reference = None
    if labels is not None:
        chosen = values or [int(value) for value in np.unique(labels.array) if value]
        reference = reference_mask(labels, chosen, image)
    masks: dict[str, np.ndarray] = {}
    seconds: dict[str, float] = {}
    notes: dict[str, str] = {}
    for method in METHODS:
        try:
            found = find_lungs(image, method, model=model, device=device, reporter=reporter)
        except ModelError as error:
            notes[method] = error.text
            continue
        masks[method] = found.lungs.array > 0
        seconds[method] = found.report["seconds"]["total"]
        notes[method] = " ".join(warning["text"] for warning in found.report["warnings"])
        if isinstance(found, LungIsolation):
            masks[REGION] = found.mask.array > 0
            seconds[REGION], notes[REGION] = seconds[method], notes[method]
    order = (METHODS[0], REGION, *METHODS[1:])
    return [_row(name, masks, reference, image, seconds, notes) for name in order]


def _row(
    name: str,
    masks: Mapping[str, np.ndarray],
    reference: np.ndarray | None,
    image: Image,
    seconds: Mapping[str, float],
    notes: Mapping[str, str],
) -> dict[str, Any]:
    mask = masks.get(name)
    row: dict[str, Any] = {"mask": name, "lungs_ml": None, "seconds": seconds.get(name)}
    if mask is not None:
        row["lungs_ml"] = round(int(np.count_nonzero(mask)) * image.grid.voxel_ml, 2)
    for method in METHODS:
        other = masks.get(method)
        row[f"dice_{method}"] = None if mask is None or other is None else dice(mask, other)
    row["dice_reference"] = row["coverage_reference"] = None
    if mask is not None and reference is not None:
        row["dice_reference"] = dice(mask, reference)
        row["coverage_reference"] = coverage(mask, reference)
    return {**row, "note": notes.get(name, "")}
