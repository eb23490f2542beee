"""The thorax phantom of the lung isolation: ellipses, a trachea, a wandering spine, a couch with foam."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image

SLICES, SIDE = 12, 512
COUCH_ROWS = slice(430, 480)
SPINE_COLUMNS = 256.0 + np.arange(SLICES)


@dataclass(frozen=True)
class LungPhantom:
    """``ct`` in HU on a grid of 1 mm; ``lungs``: both complete lungs; ``aerated``: what of them holds air."""

    ct: Image
    lungs: np.ndarray
    aerated: np.ndarray
    trachea: np.ndarray


def lung_phantom(
    *, collapsed: bool = False, equal: bool = False, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> LungPhantom:
    """Painted in a fixed order.  ``collapsed``: the second lung holds no air below row 200; ``equal``: the
    second lung has exactly as many voxels as the first."""
    rows, columns = np.mgrid[:SIDE, :SIDE]

    def ellipse(column: int, row: int, a: int, b: int) -> np.ndarray:
        return ((columns - column) / a) ** 2 + ((rows - row) / b) ** 2 <= 1

    ct = np.full((SLICES, SIDE, SIDE), -1000, np.int16)
    lungs = np.zeros(ct.shape, bool)
    trachea = np.zeros(ct.shape, bool)
    for z, plane in enumerate(ct):
        plane[ellipse(256, 256, 180, 130)] = 40
        a = 40 + 4 * min(z, 5)
        first = ellipse(176, 240, a, a + 25)
        second = first[:, ::-1] if equal else ellipse(336, 240, a - 3, a + 22)
        plane[first | second] = -850
        if collapsed:
            plane[second & (rows > 200)] = 30
        lungs[z] = first | second
        trachea[z] = ellipse(256, 180, 10, 10)
        plane[trachea[z]] = -980
        plane[ellipse(256 + z, 330, 25, 25)] = 400
        plane[430:445, 90:422] = -300
        plane[445:480, 90:422] = -950
    image = Image(ct, Grid((SIDE, SIDE, SLICES), spacing), modality="CT", unit="HU")
    return LungPhantom(image, lungs, lungs & (ct == -850), trachea)
