"""A whole four-modality brain MRI from a seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.preprocessing.registry import PreparedCase

from SegDLTrainingLib.synthesis.brain.anatomy import make_anatomy, make_outline
from SegDLTrainingLib.synthesis.brain.contrast import (
    MODALITIES,
    draw_tissues,
    paint_modality,
    tumour_means,
)
from SegDLTrainingLib.synthesis.brain.head import HeadSpace
from SegDLTrainingLib.synthesis.brain.scanner import scan
from SegDLTrainingLib.synthesis.brain.tumours import draw_tumours, plan_tumours

EXTENT_MM = (160.0, 192.0, 160.0)


def make_case(seed: int, data: Mapping[str, Any]) -> PreparedCase:
    """FLAIR, T1, T1c and T2 (int16, arbitrary units, 0 outside the brain) and labels (uint8) on one grid.

    Labels as in BraTS: 1 necrosis, 2 oedema, 3 non-enhancing, 4 enhancing tumour.  ``data``: ``spacing``
    [x, y, z] mm (2 mm), ``extent_mm`` of the grid, ``tumour_free_share`` of the seeds (0.1), ``whole_tumour``
    for 1 instead of all four labels (no).  The same arguments give the same voxels.
    """
    rng = np.random.default_rng([seed, 7])
    grid = _grid(data.get("spacing", (2.0, 2.0, 2.0)), data.get("extent_mm", EXTENT_MM))
    tumours = plan_tumours(rng, float(data.get("tumour_free_share", 0.1)))
    space = HeadSpace(grid, rng, rng.uniform(1.5, 4), rng.normal(0, [5, 3, 3]))
    outline = make_outline(space, rng)
    for tumour in tumours:
        push = rng.uniform(0, 0.35) * min(tumour.radius + 0.5 * tumour.swelling, 25)
        space.push(tumour.centre, 1.4 * tumour.radius + 5, push, -outline.brain)
    anatomy = make_anatomy(space, outline, rng)
    tissue = draw_tumours(tumours, space, outline, anatomy, rng)
    tissues = draw_tissues(rng)
    values = tumour_means(tissues, rng)
    images = {}
    for name in MODALITIES:
        painted = paint_modality(name, anatomy, tissue, tissues, values[name], grid.spacing, rng)
        scanned = scan(painted, outline.mask, grid.spacing, rng)
        images[name] = Image(scanned, grid, modality="MR", metadata={"phantom_seed": seed})
    labels = (tissue.labels > 0).astype(np.uint8) if data.get("whole_tumour") else tissue.labels
    return PreparedCase(images, MODALITIES[0], labels=Image(labels, grid))


def _grid(spacing: Any, extent_mm: Any) -> Grid:
    """A grid whose voxels lie at multiples of the spacing, with the middle of the head at the origin."""
    step = np.asarray(spacing, dtype=float)
    size = np.maximum(np.rint(np.asarray(extent_mm) / step).astype(int), 8)
    return Grid(tuple(size.tolist()), tuple(step.tolist()), tuple((-(size // 2) * step).tolist()))
