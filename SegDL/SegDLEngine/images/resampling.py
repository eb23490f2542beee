"""Resampling in physical space: every point keeps its place in millimetres."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from SegDLEngine.images.conversion import from_sitk, set_grid, to_sitk
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image

# Part of a voxel by which a box may touch the next voxel without gaining it: absorbs rounding errors of a
# rotated or float32 geometry, so that all copies of a scan get the same lattice.
SNAP = 1e-3

INTERPOLATIONS = ("linear", "nearest", "cubic")
# A cubic spline needs this many samples along every axis.
FEWEST_FOR_CUBIC = 4


def resample(image: Image, grid: Grid, *, interpolation: str = "linear", outside: float = 0.0) -> Image:
    """The image's values at the voxel centres of ``grid``; ``outside`` where the image has none.

    ``interpolation`` is 'linear', 'nearest' (labels and masks) or 'cubic' (B-spline through the values, which
    overshoots at edges).  The type is kept; interpolated values of integers are rounded to the nearest whole
    number that it holds.  The image reaches to the outer faces of its voxels;
    in the outer half voxel the edge value holds.  There is no smoothing before downsampling: each new voxel
    is the interpolated value at its centre, not a mean.
    """
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"interpolation '{interpolation}' is none of {', '.join(INTERPOLATIONS)}")
    if image.grid.matches(grid, tolerance=1e-6):
        return image.with_array(image.array, grid)
    import SimpleITK

    methods = {
        "linear": SimpleITK.sitkLinear,
        "nearest": SimpleITK.sitkNearestNeighbor,
        "cubic": SimpleITK.sitkBSpline3,
    }
    source = to_sitk(_thick_enough(image) if interpolation == "cubic" else image)
    resampler = SimpleITK.ResampleImageFilter()
    resampler.SetInterpolator(methods[interpolation])
    resampler.SetDefaultPixelValue(float(outside))
    resampler.SetSize(grid.size)
    resampler.SetOutputSpacing(grid.spacing)
    resampler.SetOutputOrigin(grid.origin)
    resampler.SetOutputDirection(grid.direction)
    rounded = image.array.dtype.kind in "bui" and interpolation != "nearest"
    if rounded:
        resampler.SetOutputPixelType(SimpleITK.sitkFloat32)
    result = resampler.Execute(source)
    set_grid(result, grid)
    array = from_sitk(result).array
    if rounded:
        array = np.rint(array, out=array)
        if interpolation == "cubic" and image.array.dtype.kind in "ui":
            kind = np.iinfo(image.array.dtype)
            array = np.clip(array, kind.min, kind.max, out=array)
    return image.with_array(array.astype(image.array.dtype, copy=False), grid)


def canonical_grid(grid: Grid, spacing: Sequence[float]) -> Grid:
    """The grid along the patient's axes (identity direction, LPS) that covers the physical box of ``grid``.

    Voxel centres lie at whole multiples of ``spacing`` (mm; x, y, z), so that every copy of one scan,
    flipped, permuted or oblique, is brought to the same points.  Along an axis where the box is thinner than
    ``spacing``, such as a single slice, there is one voxel at the middle of the box.
    """
    step = np.asarray(spacing, dtype=float)
    if step.shape != (3,) or not np.all(step > 0):
        raise ValueError(f"spacing {list(spacing)} is not three positive numbers")
    corners = grid.corners() / step
    low, high = corners.min(axis=0), corners.max(axis=0)
    first = np.floor(low + 0.5 + SNAP)
    last = np.maximum(np.ceil(high - 0.5 - SNAP), first)
    thin = high - low < 1 - SNAP
    first[thin] = last[thin] = ((low + high) / 2)[thin]
    size = (last - first).astype(int) + 1
    return Grid(tuple(size.tolist()), tuple(step.tolist()), tuple((first * step).tolist()))


def _thick_enough(image: Image) -> Image:
    """The image with its last planes repeated where an axis is too short for a cubic spline.

    A spline passes through its samples, so planes that are only copied along such an axis keep their values.
    """
    missing = [max(FEWEST_FOR_CUBIC - count, 0) for count in image.array.shape]
    if not any(missing):
        return image
    array = np.pad(image.array, [(0, count) for count in missing], mode="edge")
    return image.with_array(array, image.grid.crop((0, 0, 0), array.shape[::-1]))
