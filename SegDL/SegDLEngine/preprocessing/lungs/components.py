"""Connected components, in the volume and slice by slice."""

from __future__ import annotations

import cc3d
import numpy as np


def edge_values(plane: np.ndarray) -> np.ndarray:
    """The values along the four edges of a slice (j, i)."""
    return np.concatenate((plane[0], plane[-1], plane[:, 0], plane[:, -1]))


def label(mask: np.ndarray, connectivity: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Labels (0 = background) of a mask and the voxel count of each label, background included."""
    labels = cc3d.connected_components(mask, connectivity=connectivity, binary_image=True)
    return labels, cc3d.statistics(labels, no_slice_conversion=True)["voxel_counts"].astype(np.int64)


def largest(mask: np.ndarray, connectivity: int = 6) -> np.ndarray:
    """The component with the most voxels; empty for an empty mask."""
    labels, counts = label(mask, connectivity)
    counts[0] = 0
    if counts.size == 1:
        return np.zeros(mask.shape, bool)
    return labels == np.argmax(counts)


def split_by_area(mask: np.ndarray, minimum_pixels: float) -> tuple[np.ndarray, np.ndarray]:
    """The 4-connected components of every slice, divided into (large, small) by their pixel count."""
    large = np.zeros(mask.shape, bool)
    for k, plane in enumerate(mask):
        if plane.any():
            labels = cc3d.connected_components(plane, connectivity=4, binary_image=True)
            keep = np.bincount(labels.ravel()) >= minimum_pixels
            keep[0] = False
            large[k] = keep[labels]
    return large, mask & ~large


def fill_holes(mask: np.ndarray, maximum_pixels: float) -> np.ndarray:
    """Every slice with its holes filled that have at most ``maximum_pixels``; the edge is no wall of a hole."""
    filled = mask.copy()
    for k, plane in enumerate(mask):
        if plane.any():
            labels = cc3d.connected_components(~plane, connectivity=4, binary_image=True)
            hole = np.bincount(labels.ravel()) <= maximum_pixels
            hole[0] = False
            hole[edge_values(labels)] = False
            filled[k] |= hole[labels]
    return filled
