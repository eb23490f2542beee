"""Each slice examined in the box of its body, brought to one size, as lungmask does.

Hofmanninger et al. 2020 (see ``networks.lungmask_unet2d``) crop every CT slice to the patient before they
resize it: the network always sees a body that fills its image.  Corners keep their place when a slice is
resized: the first and last pixel of either image are the same points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cc3d
import numpy as np

from SegDLEngine.preprocessing.lungs.components import edge_values
from SegDLEngine.preprocessing.lungs.planes import dilate, erode

# The body is sought on a copy of each slice with this many rows and columns.
COPY = 128
PIXEL = (1.0, 1.0)
Box = tuple[slice, slice]


@dataclass(frozen=True)
class BodyBoxes:
    """The rule of a card's ``inference.body_box``: ``level`` is the prepared value above which the first
    channel is tissue, ``size`` the columns and rows (i, j) that the network sees."""

    level: float
    size: tuple[int, int]

    @classmethod
    def of(cls, settings: Mapping[str, Any] | None) -> BodyBoxes | None:
        """From ``inference.body_box``; None without one."""
        if not settings:
            return None
        columns, rows = settings["size"]
        return cls(float(settings["level"]), (int(columns), int(rows)))

    def box(self, plane: np.ndarray) -> Box:
        """Rows and columns of the body of a slice (j, i); the whole slice where there is none."""
        body = find_body(plane, self.level)
        rows, columns = np.flatnonzero(body.any(axis=1)), np.flatnonzero(body.any(axis=0))
        if not rows.size:
            return slice(0, plane.shape[0]), slice(0, plane.shape[1])
        return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)

    def shrink(self, images: np.ndarray, box: Box) -> np.ndarray:
        """The box of ``images`` (C, j, i) at the network's size, by linear interpolation; float32."""
        part = images[:, box[0], box[1]].astype(np.float32, copy=False)
        for axis, size in ((1, self.size[1]), (2, self.size[0])):
            part = _linear(part, size, axis)
        return part

    def expand(self, values: np.ndarray, box: Box, shape: Sequence[int]) -> np.ndarray:
        """What ``values`` (..., rows, columns) of the network's size are on a slice of ``shape`` (j, i), by
        the nearest pixel; 0 outside of the box."""
        rows = _nearest(values.shape[-2], box[0].stop - box[0].start)
        columns = _nearest(values.shape[-1], box[1].stop - box[1].start)
        result = np.zeros((*values.shape[:-2], *shape), values.dtype)
        result[..., box[0], box[1]] = values[..., rows[:, None], columns]
        return result


def find_body(plane: np.ndarray, level: float) -> np.ndarray:
    """The largest mass above ``level`` in a slice (j, i) with what it encloses, after an opening."""
    rows, columns = (_nearest(side, COPY) for side in plane.shape)
    body = _closed(plane[rows[:, None], columns] > level)
    body = _largest(_eroded(_filled(body), 2.0))
    body = dilate(body[None], PIXEL, 2.0)[0]
    rows, columns = (_nearest(COPY, side) for side in plane.shape)
    return body[rows[:, None], columns]


def _closed(mask: np.ndarray) -> np.ndarray:
    return _eroded(dilate(mask[None], PIXEL, 1.0)[0], 1.0)


def _eroded(mask: np.ndarray, radius: float) -> np.ndarray:
    """``mask`` (j, i) eroded by a diamond of 1 or 2 pixels; beyond the image there is nothing."""
    return erode(np.pad(mask, 2)[None], PIXEL, radius)[0, 2:-2, 2:-2]


def _filled(mask: np.ndarray) -> np.ndarray:
    """``mask`` (j, i) with the parts that it encloses; the outside passes between corners."""
    labels = cc3d.connected_components(~mask, connectivity=8, binary_image=True)
    outside = np.zeros(int(labels.max()) + 1, bool)
    outside[edge_values(labels)] = True
    outside[0] = False
    return ~outside[labels]


def _largest(mask: np.ndarray) -> np.ndarray:
    labels = cc3d.connected_components(mask, connectivity=4, binary_image=True)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return mask & (labels == int(sizes.argmax())) if sizes.any() else mask


def _places(before: int, after: int) -> np.ndarray:
    """Where ``after`` pixels lie among ``before``, from corner to corner."""
    return np.arange(after) * ((before - 1) / max(after - 1, 1))


def _nearest(before: int, after: int) -> np.ndarray:
    return np.minimum(np.floor(_places(before, after) + 0.5).astype(int), before - 1)


def _linear(images: np.ndarray, size: int, axis: int) -> np.ndarray:
    places = _places(images.shape[axis], size)
    first = np.minimum(places.astype(int), images.shape[axis] - 1)
    second = np.minimum(first + 1, images.shape[axis] - 1)
    share = (places - first).astype(np.float32)
    share = share[:, None] if axis == 1 else share
    return images.take(first, axis) * (1 - share) + images.take(second, axis) * share
