"""The couch: wide, thin things behind the body, and whatever lies under their upper surface."""

from __future__ import annotations

import cc3d
import numpy as np

from SegDLEngine.images.cropping import occupied
from SegDLEngine.preprocessing.lungs.components import label
from SegDLEngine.preprocessing.lungs.planes import dilate

SKIN_MM = 4.0


def find_couch(
    hu: np.ndarray,
    body: np.ndarray,
    spacing: tuple[float, float, float],
    dense_hu: float,
    minimum_width: float,
    minimum_aspect: float,
) -> np.ndarray:
    """Bool (k, j, i) of the table under the patient; empty where there is none.

    A table is a component of HU > ``dense_hu`` outside the body that lies behind the body's centre, is at
    least ``minimum_width`` times as wide as the body and ``minimum_aspect`` times as wide as it is thick
    (volume over width and length).  Its foam and hollow inside are what lies under its upper surface.  Skin
    that the body lost in its opening (``SKIN_MM``) is no table.
    """
    couch = np.zeros(hu.shape, bool)
    box = occupied(body)
    if box is None:
        return couch
    profile = body.sum(axis=(0, 2))
    centre_row = int(np.average(np.arange(profile.size), weights=profile))
    behind = (slice(None), slice(centre_row, None))
    dense = (hu[behind] > dense_hu) & ~dilate(body[behind], spacing[1:], SKIN_MM)
    labels, count = label(_halve(dense), connectivity=26)
    boxes = cc3d.statistics(labels)["bounding_boxes"]
    body_mm = (box[2].stop - box[2].start) * spacing[2]
    tables = np.zeros(dense.shape, bool)
    for number in range(1, count + 1):
        part = boxes[number]
        length_mm = (part[0].stop - part[0].start) * spacing[0]
        width_mm = (part[2].stop - part[2].start) * 2 * spacing[2]
        if width_mm < minimum_width * body_mm:
            continue
        table = np.zeros(dense.shape, bool)
        _double(labels == number, table)
        table &= dense
        thickness_mm = np.count_nonzero(table) * float(np.prod(spacing)) / (length_mm * width_mm)
        if width_mm >= minimum_aspect * thickness_mm:
            tables |= table
    if tables.any():
        np.maximum.accumulate(tables, axis=1, out=couch[behind])
        couch &= ~body
    return couch


def _halve(mask: np.ndarray) -> np.ndarray:
    """Half the rows and columns: true where any of 2x2 pixels is."""
    even = np.pad(mask, ((0, 0), (0, mask.shape[1] % 2), (0, mask.shape[2] % 2)))
    rows = even[:, ::2] | even[:, 1::2]
    return rows[:, :, ::2] | rows[:, :, 1::2]


def _double(half: np.ndarray, whole: np.ndarray) -> None:
    """Repeat every pixel of ``half`` twice along j and i into ``whole``."""
    for row in (0, 1):
        for column in (0, 1):
            view = whole[:, row::2, column::2]
            view[:] = half[:, : view.shape[1], : view.shape[2]]
