"""From probabilities to labels, and postprocessing steps by name, as a model card lists them.

Each step is a function ``(labels, masks, **constants) -> labels``; labels are a uint8 image on the prepared
grid, masks the by-products of preprocessing on the same grid.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import cc3d
import numpy as np

from SegDLEngine.errors import ModelError
from SegDLEngine.images.cropping import occupied
from SegDLEngine.images.image import Image
from SegDLEngine.inference.label_cleaning import fill_holes, merge_small
from SegDLEngine.inference.mask_share import drop_mostly_inside

Masks = Mapping[str, Image]


def foreground(probability: np.ndarray, activation: str) -> np.ndarray:
    """Probability (k, j, i) of any label, from those of the labels (L, k, j, i).

    Softmax classes exclude each other, so theirs add up; of sigmoid outputs the largest counts.
    """
    if len(probability) == 1:
        return probability[0]
    if activation == "softmax":
        # Rounding may carry the sum a little beyond 1.
        return np.minimum(probability.sum(axis=0), 1)
    return probability.max(axis=0)


def label_map(
    probability: np.ndarray, values: Sequence[int], threshold: float, activation: str
) -> np.ndarray:
    """uint8 (k, j, i): the value of the likeliest label where there is foreground.

    Sigmoid outputs, and a single label, are foreground from ``threshold`` on.  Of several softmax classes the
    likeliest label is weighed against the background, at the odds threshold / (1 - threshold): 0.5 is argmax.
    """
    if activation == "softmax" and len(probability) > 1:
        background = 1 - probability.sum(axis=0)
        inside = probability.max(axis=0) * (1 - threshold) >= background * threshold
    else:
        inside = foreground(probability, activation) >= threshold
    if len(probability) == 1:
        return np.where(inside, np.uint8(values[0]), np.uint8(0))
    best = np.full(probability.shape[1:], values[0], np.uint8)
    highest = probability[0].copy()
    for value, layer in zip(values[1:], probability[1:], strict=True):
        better = layer > highest
        best[better] = value
        np.maximum(highest, layer, out=highest)
    return np.where(inside, best, np.uint8(0))


def label_counts(labels: np.ndarray) -> np.ndarray:
    """Voxels of each value 0..255 of uint8 labels (k, j, i); plane by plane, as counting widens its input."""
    counts = np.zeros(256, np.int64)
    for plane in labels:
        counts += np.bincount(plane.ravel(), minlength=256)
    return counts


def inside_mask(labels: Image, masks: Masks, *, mask: str) -> Image:
    """Remove what lies outside the named mask; raises ModelError if preprocessing made no such mask."""
    if mask not in masks:
        raise ModelError(
            f"Postprocessing needs the mask '{mask}', which no preprocessing step made.",
            hint=f"Masks of this model: {', '.join(masks) or 'none'}.",
        )
    return labels.with_array(np.where(masks[mask].array != 0, labels.array, np.uint8(0)))


def components(
    labels: Image,
    masks: Masks,
    *,
    minimum_slices: int = 1,
    minimum_ml: float = 0.0,
    keep: str = "all",
    connectivity: Literal[6, 18, 26] = 26,
) -> Image:
    """Remove 3D components, label by label, and of the rest keep all or the largest of each label.

    A component must lie on ``minimum_slices`` adjacent slices and have ``minimum_ml`` millilitres.  The
    report's rule is ``minimum_slices=2, keep="largest"``.
    """
    if keep not in ("all", "largest"):
        raise ModelError(f"Postprocessing step 'components': keep '{keep}' is neither 'all' nor 'largest'.")
    if connectivity not in (6, 18, 26):
        raise ModelError(
            f"Postprocessing step 'components': connectivity {connectivity} is none of 6, 18, 26."
        )
    result = np.zeros_like(labels.array)
    values = np.flatnonzero(label_counts(labels.array))
    # Numbered are only the slices, rows and columns with labels: of a large volume often a small part.
    inner = occupied(labels.array)
    if inner is None:
        return labels.with_array(result)
    for value in values[values > 0]:
        found, count = cc3d.connected_components(
            labels.array[inner] == value, connectivity=connectivity, binary_image=True, return_N=True
        )
        numbers = _accepted(found, count, labels.grid.voxel_ml, minimum_slices, minimum_ml, keep)
        chosen = np.zeros(count + 1, bool)
        chosen[numbers] = True
        result[inner][chosen[found]] = value
    return labels.with_array(result)


def _accepted(
    found: np.ndarray, count: int, voxel_ml: float, minimum_slices: int, minimum_ml: float, keep: str
) -> list[int]:
    """Numbers of the components that stay.  A component is connected, so its slices are adjacent."""
    statistics = cc3d.statistics(found)
    voxels, boxes = statistics["voxel_counts"], statistics["bounding_boxes"]
    accepted = [
        number
        for number in range(1, count + 1)
        if boxes[number][0].stop - boxes[number][0].start >= minimum_slices
        and voxels[number] * voxel_ml >= minimum_ml
    ]
    if keep == "largest" and accepted:
        return [max(accepted, key=lambda number: int(voxels[number]))]
    return accepted


STEPS: dict[str, Callable[..., Image]] = {
    "inside_mask": inside_mask,
    "components": components,
    "merge_small": merge_small,
    "fill_holes": fill_holes,
    "drop_mostly_inside": drop_mostly_inside,
}


def check_postprocessing(steps: Sequence[Mapping[str, Any]]) -> None:
    """Raise ModelError if a step is unknown or its constants do not fit, before any work is done."""
    for number, entry in enumerate(steps, start=1):
        name, constants = _split(entry)
        if name not in STEPS:
            raise ModelError(
                f"Postprocessing step {number} is named '{name}', which this version does not know.",
                hint=f"Known steps: {', '.join(sorted(STEPS))}.",
            )
        try:
            inspect.signature(STEPS[name]).bind(None, None, **constants)
        except TypeError as error:
            raise ModelError(f"Postprocessing step {number} '{name}': {error}.") from error


def postprocess(labels: Image, masks: Masks, steps: Sequence[Mapping[str, Any]]) -> Image:
    """Run the steps in order."""
    for entry in steps:
        name, constants = _split(entry)
        labels = STEPS[name](labels, masks, **constants)
    return labels


def _split(entry: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    return str(entry.get("step")), {key: value for key, value in entry.items() if key != "step"}
