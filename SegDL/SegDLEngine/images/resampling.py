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
# A cubic spline and a recursive Gaussian need this many samples along an axis.
FEWEST_FOR_CUBIC = FEWEST_FOR_GAUSSIAN = 4
# A Gaussian narrower than this part of a voxel changes nothing that matters.
NARROWEST = 0.1


def resample(image: Image, grid: Grid, *, interpolation: str = "linear", outside: float = 0.0) -> Image:
    """The image's values at the voxel centres of ``grid``; ``outside`` where the image has none.

    ``interpolation`` is 'linear', 'nearest' (labels and masks) or 'cubic' (B-spline through the values, which
    overshoots at edges).  The type is kept; interpolated values of integers, and ``outside``, are rounded to
    the nearest whole number that it holds.  The image reaches to the outer faces of its voxels; in the outer
    half voxel the edge value holds.  There is no smoothing before downsampling: each new voxel
    is the interpolated value at its centre, not a mean; see ``antialiased``.
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
    resampler.SetDefaultPixelValue(_held(outside, image.array.dtype))
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


def antialiased(image: Image, grid: Grid, strength: float) -> Image:
    """The image smoothed along each of its axes as far as ``grid`` is coarser there; float32 if changed.

    ``strength`` s: standard deviation of the Gaussian, in mm, is s * sqrt(coarse^2 - fine^2).  Copies of one
    scan with different voxels then bring the same detail, and less noise, to ``grid``; where it is not
    coarser the image stays as it is.  An axis of fewer than 4 voxels is not smoothed.
    """
    fine = np.asarray(image.grid.spacing)
    turned = np.abs(image.grid.axes.T @ grid.axes)
    coarse = turned @ np.asarray(grid.spacing) / turned.sum(axis=1)
    sigmas = strength * np.sqrt(np.maximum(coarse**2 - fine**2, 0.0))
    sigmas[(sigmas < NARROWEST * fine) | (np.asarray(image.grid.size) < FEWEST_FOR_GAUSSIAN)] = 0.0
    if not sigmas.any():
        return image
    import SimpleITK

    smooth = SimpleITK.Cast(to_sitk(image), SimpleITK.sitkFloat32)
    for axis in np.flatnonzero(sigmas):
        kind = SimpleITK.RecursiveGaussianImageFilter.ZeroOrder
        smooth = SimpleITK.RecursiveGaussian(smooth, float(sigmas[axis]), False, kind, int(axis))
    return image.with_array(from_sitk(smooth).array)


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


def _held(value: float, kind: np.dtype) -> float:
    """The nearest value that an array of this type can have."""
    if kind.kind not in "ui":
        return float(value)
    limits = np.iinfo(kind)
    return float(min(max(round(value), limits.min), limits.max))


def _thick_enough(image: Image) -> Image:
    """The image with its last planes repeated where an axis is too short for a cubic spline.

    A spline passes through its samples, so planes that are only copied along such an axis keep their values.
    """
    missing = [max(FEWEST_FOR_CUBIC - count, 0) for count in image.array.shape]
    if not any(missing):
        return image
    array = np.pad(image.array, [(0, count) for count in missing], mode="edge")
    return image.with_array(array, image.grid.crop((0, 0, 0), array.shape[::-1]))
