"""One generated PET/CT case from a seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.images.resampling import resample
from SegDLEngine.preprocessing.registry import PreparedCase

from SegDLTrainingLib.synthesis.petct.body import Body
from SegDLTrainingLib.synthesis.petct.head_neck import paint_head_neck
from SegDLTrainingLib.synthesis.petct.lesions import add_lesion
from SegDLTrainingLib.synthesis.petct.limb import paint_limb
from SegDLTrainingLib.synthesis.petct.scanners import paint_couch, scan_ct, scan_pet
from SegDLTrainingLib.synthesis.petct.trunk import paint_trunk
from SegDLTrainingLib.synthesis.space import Space

GENERATOR_VERSION = 1
ATTEMPTS = 6

# Painter, largest tumour (mm), and where the volume's middle lies: mean and spread (mm) along x, y, z.
REGIONS = {
    "limb": (paint_limb, 105.0, (0, 0, 0), (28, 28, 0)),
    "trunk": (paint_trunk, 95.0, (0, 20, 0), (95, 65, 30)),
    "head and neck": (paint_head_neck, 55.0, (0, -8, -15), (12, 12, 35)),
}
DEFAULTS: dict[str, Any] = {
    "regions": {"limb": 0.5, "trunk": 0.27, "head and neck": 0.23},
    "extent_mm": [110, 200],
    "spacing_mm": 2.0,
    "tumour_free_share": 0.12,
}


def make_case(seed: int, data: Mapping[str, Any]) -> PreparedCase:
    """CT (HU) and PET (SUV) of a part of a body, on different grids, and the tumours' labels on the CT's.

    ``data``: ``regions``, the shares of limb, trunk, and head and neck; ``extent_mm`` [low, high], the range
    of the sides of the volume; ``spacing_mm`` of the lattice on which the body is drawn;
    ``tumour_free_share``.  The rest of the cases have one to three tumours.  The same arguments give the
    same voxels.
    """
    settings = {**DEFAULTS, **{key: data[key] for key in DEFAULTS if key in data}}
    rng = np.random.default_rng([seed, GENERATOR_VERSION])
    names = list(settings["regions"])
    shares = np.asarray([settings["regions"][name] for name in names], float)
    paint, largest, middle, spread = REGIONS[str(rng.choice(names, p=shares / shares.sum()))]
    space = Space(_grid(settings, middle, spread, rng), rng, bend_mm=rng.uniform(2, 6))
    body = Body.empty(space, rng)
    paint(body)
    label = np.zeros(space.grid.shape, np.uint8)
    if rng.random() >= settings["tumour_free_share"]:
        for _ in range(int(rng.choice([1, 2, 3], p=[0.72, 0.2, 0.08]))):
            # A place where too little can grow is given up for another one.
            attempts = (add_lesion(body, label, largest) for _ in range(ATTEMPTS))
            next((lesion for lesion in attempts if lesion is not None), None)
    if rng.random() < 0.6:
        paint_couch(body)
    ct = scan_ct(body)
    labels = resample(Image(label, space.grid), ct.grid, interpolation="nearest")
    return PreparedCase({"CT": ct, "PET": scan_pet(body)}, "CT", labels=labels)


def _grid(settings: Mapping[str, Any], middle, spread, rng: np.random.Generator) -> Grid:
    step = float(settings["spacing_mm"])
    low, high = settings["extent_mm"]
    extent = rng.uniform(low, high, 3)
    size = np.maximum(np.rint(extent / step).astype(int), 16)
    centre = np.asarray(middle) + rng.uniform(-1, 1, 3) * spread
    return Grid(tuple(size), (step,) * 3, tuple(centre - (size - 1) / 2 * step))
