"""Postprocessing steps that give voxels another label, for organs whose labels fill a region together."""

from __future__ import annotations

from typing import Literal

import cc3d
import numpy as np

from SegDLEngine.images.image import Image
from SegDLEngine.preprocessing.lungs.components import edge_values, label
from SegDLEngine.preprocessing.lungs.planes import dilate_cross


def merge_small(
    labels: Image, masks: object, *, least_voxels: int = 4, connectivity: Literal[6, 18, 26] = 26
) -> Image:
    """Components that are not the largest of their label become part of the neighbour they touch most.

    From the smallest on; those that touch only background stay as they are, as do those of less than
    ``least_voxels``, which are not worth the time ('components' removes both).  As the postprocessing of
    lungmask, Hofmanninger et al. 2020.
    """
    parts, count = cc3d.connected_components(labels.array, connectivity=connectivity, return_N=True)  # type: ignore[call-overload]
    if count < 2:
        return labels
    statistics = cc3d.statistics(parts)
    sizes = statistics["voxel_counts"].astype(np.int64)
    boxes = [_grown(box, parts.shape) for box in statistics["bounding_boxes"]]
    values = _values(labels.array, parts, boxes)
    largest = {value: int(sizes[1:][values[1:] == value].max()) for value in np.unique(values[1:])}
    order = np.argsort(sizes[1:], kind="stable") + 1
    for number in order[sizes[order] >= least_voxels].tolist():
        if sizes[number] >= largest[values[number]]:
            continue
        region = parts[boxes[number]]
        own = region == number
        touched = np.bincount(region[dilate_cross(own, 1)], minlength=count + 1)
        touched[[0, number]] = 0
        other = int(touched.argmax())
        if touched[other]:
            region[own] = other
            if sizes[other] == largest[values[other]]:
                largest[values[other]] += int(sizes[number])
            sizes[other] += sizes[number]
            boxes[other] = _union(boxes[other], boxes[number])
    return labels.with_array(values[parts])


def fill_holes(labels: Image, masks: object) -> Image:
    """Each label takes in what it encloses in the volume, or in the slice of a single one."""
    result = labels.array.copy()
    for value in np.unique(labels.array[labels.array > 0]):
        outside = labels.array != value
        parts, count = label(outside)
        reached = np.zeros(count + 1, bool)
        reached[_border(parts)] = True
        reached[0] = True
        result[~reached[parts]] = value
    return labels.with_array(result)


def _border(parts: np.ndarray) -> np.ndarray:
    """Numbers of the parts at the border of the volume; of a single slice, at its edges."""
    if len(parts) == 1:
        return edge_values(parts[0])
    faces = [parts[0], parts[-1], parts[:, 0], parts[:, -1], parts[:, :, 0], parts[:, :, -1]]
    return np.concatenate([np.unique(face) for face in faces])


def _values(labels: np.ndarray, parts: np.ndarray, boxes: list[tuple[slice, ...]]) -> np.ndarray:
    """The label of each part; part 0 is background."""
    values = np.zeros(len(boxes), labels.dtype)
    for number in range(1, len(boxes)):
        place = np.argmax(parts[boxes[number]] == number)
        values[number] = labels[boxes[number]].flat[place]
    return values


def _grown(box: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(
        slice(max(side.start - 1, 0), min(side.stop + 1, length))
        for side, length in zip(box, shape, strict=True)
    )


def _union(one: tuple[slice, ...], other: tuple[slice, ...]) -> tuple[slice, ...]:
    return tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
