"""The couch: wide, thin things behind the body, and whatever lies under their upper surface."""

from __future__ import annotations

import cc3d
import numpy as np

from SegDLEngine.preprocessing.lungs.planes import bounding_box, dilate

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
    box = bounding_box(body)
    if box is None:
        return couch
    profile = body.sum(axis=(0, 2))
    centre_row = int(np.average(np.arange(profile.size), weights=profile))
    width_mm = (box[2].stop - box[2].start) * spacing[2]
    behind = (slice(None), slice(centre_row, None))
    dense = (hu[behind] > dense_hu) & ~dilate(body[behind], spacing[1:], SKIN_MM)
    labels = cc3d.connected_components(dense, connectivity=26, binary_image=True)
    statistics = cc3d.statistics(labels)
    for number in range(1, len(statistics["voxel_counts"])):
        part = statistics["bounding_boxes"][number]
        length, depth, width = (
            (side.stop - side.start) * step for side, step in zip(part, spacing, strict=True)
        )
        if width < minimum_width * width_mm:
            continue
        volume = float(statistics["voxel_counts"][number]) * float(np.prod(spacing))
        thickness = min(volume / (length * width), depth)
        if width >= minimum_aspect * thickness:
            _add_below(couch[behind], labels == number, part)
    couch &= ~body
    return couch


def _add_below(couch: np.ndarray, table: np.ndarray, box: tuple[slice, slice, slice]) -> None:
    """Mark the table and everything behind its upper surface, down to the last row."""
    down = (box[0], slice(box[1].start, None), box[2])
    couch[down] |= np.maximum.accumulate(table[down], axis=1)
