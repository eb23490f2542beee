"""Connected components, in the volume and slice by slice."""

from __future__ import annotations

import cc3d
import numpy as np


def edge_values(plane: np.ndarray) -> np.ndarray:
    """The values along the four edges of a slice (j, i)."""
    return np.concatenate((plane[0], plane[-1], plane[:, 0], plane[:, -1]))


def label(mask: np.ndarray, connectivity: int = 6) -> tuple[np.ndarray, int]:
    """Labels (0 = background) of the connected components of a mask, and how many there are."""
    found = cc3d.connected_components(mask, connectivity=connectivity, binary_image=True, return_N=True)  # type: ignore[call-overload]
    return found[0], int(found[1])


def largest(mask: np.ndarray, connectivity: int = 6) -> np.ndarray:
    """The component with the most voxels; empty for an empty mask.

    Sizes are estimated on every second voxel of each axis and counted only where the estimate leaves a doubt.
    """
    labels, count = label(mask, connectivity)
    if count == 0:
        return np.zeros(mask.shape, bool)
    estimate = np.bincount(labels[::2, ::2, ::2].ravel(), minlength=count + 1)
    estimate[0] = 0
    candidates = np.flatnonzero(estimate >= 0.8 * estimate.max())
    candidates = candidates[candidates > 0]
    if candidates.size > 1:
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        candidates = candidates[np.argsort(-sizes[candidates], kind="stable")]
    return labels == candidates[0]


def split_by_area(mask: np.ndarray, core_pixels: float, large_pixels: float) -> tuple[np.ndarray, np.ndarray]:
    """From the 4-connected components of every slice: those of at least ``core_pixels``, and those of less
    than ``large_pixels``."""
    cores = np.zeros(mask.shape, bool)
    small = np.zeros(mask.shape, bool)
    for k, plane in enumerate(mask):
        if plane.any():
            labels = cc3d.connected_components(plane, connectivity=4, binary_image=True)
            areas = np.bincount(labels.ravel())
            areas[0] = 0
            cores[k] = (areas >= max(core_pixels, 1))[labels]
            small[k] = ((areas > 0) & (areas < large_pixels))[labels]
    return cores, small


def fill_holes(mask: np.ndarray, maximum_pixels: float) -> np.ndarray:
    """Every slice with its holes of at most ``maximum_pixels`` filled; the edge is no wall of a hole."""
    filled = mask.copy()
    for k, plane in enumerate(mask):
        if plane.any():
            labels = cc3d.connected_components(~plane, connectivity=4, binary_image=True)
            hole = np.bincount(labels.ravel()) <= maximum_pixels
            hole[0] = False
            hole[edge_values(labels)] = False
            filled[k] |= hole[labels]
    return filled
