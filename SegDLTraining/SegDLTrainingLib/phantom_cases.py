"""Training cases from generated thoraxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from SegDLEngine.images.cropping import crop
from SegDLEngine.images.image import Image
from SegDLEngine.preprocessing.registry import PreparedCase

from SegDLTrainingLib.synthesis.thorax import make_phantom


def make_case(seed: int, data: Mapping[str, Any]) -> PreparedCase:
    """One generated thorax CT with its tumours (label 1), some cropped as archives have them.

    ``data``: ``spacing`` and ``extent_mm`` of the phantom, ``cropped_share``.
    """
    phantom = make_phantom(seed, data["spacing"], data["extent_mm"])
    case = PreparedCase({"CT": phantom.ct}, "CT", labels=phantom.labels)
    rng = np.random.default_rng([seed, 1])
    if rng.random() < data["cropped_share"]:
        case = _cropped(case, phantom.lungs, rng)
    return case


def _cropped(case: PreparedCase, lungs: Image, rng: np.random.Generator) -> PreparedCase:
    """Only a box of 110 to 240 mm round a point of a tumour or lung, as archives of cropped scans have it."""
    labels = case.labels if case.labels is not None and case.labels.array.any() else lungs
    inside = np.argwhere(labels.array > 0)
    centre = inside[int(rng.integers(len(inside)))][::-1] + rng.normal(0, 6, 3)
    grid = case.grid
    extent = np.minimum(rng.uniform(110, 240, 3) / grid.spacing, grid.size).astype(int)
    start = np.clip(centre - extent / 2, 0, np.asarray(grid.size) - extent).astype(int).tolist()
    size = extent.tolist()
    images = {name: crop(image, start, size, 0) for name, image in case.images.items()}
    cropped = None if case.labels is None else crop(case.labels, start, size, 0)
    return replace(case, images=images, labels=cropped)
