"""Preprocessing steps that examine a box of fixed size: round the user's region, or round the head."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from SegDLEngine.errors import InputError, ModelError
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.resampling import canonical_grid
from SegDLEngine.preprocessing.grid import Outside, checked_spacing, cut, to_grid
from SegDLEngine.preprocessing.registry import PreparedCase, step


@step("resample_to_box")
def resample_to_box(
    case: PreparedCase,
    *,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    size: Sequence[int] = (144, 144, 144),
    outside: Outside = 0.0,
) -> PreparedCase:
    """Bring all inputs, each straight from its own grid, to ``spacing`` [x, y, z] mm on the patient's axes.

    With a region: ``size`` [x, y, z] voxels round its centre, more along an axis where the region is longer.
    Without: the whole box of the reference input.  Raises InputError if the region misses the image.
    """
    distance = np.asarray(checked_spacing("resample_to_box", spacing, 3))
    if len(size) != 3 or min(size) < 1:
        raise ModelError(
            f"Step 'resample_to_box': size {list(size)} is not three positive numbers of voxels."
        )
    if case.region is None:
        return to_grid(case, canonical_grid(case.grid, distance.tolist()), outside)
    r_min, r_max, a_min, a_max, s_min, s_max = case.region
    low, high = np.array([-r_max, -a_max, s_min]), np.array([-r_min, -a_min, s_max])
    corners = case.grid.corners()
    if np.any(high <= corners.min(axis=0)) or np.any(low >= corners.max(axis=0)):
        raise InputError(
            f"The region of interest lies outside of the input '{case.reference}'.",
            hint="Move the region into the image.",
            code="region",
        )
    count = np.maximum(size, np.ceil((high - low) / distance - 1e-6)).astype(int)
    origin = (low + high) / 2 - (count - 1) / 2 * distance
    return to_grid(case, Grid(tuple(count), tuple(distance), tuple(origin)), outside)


@step("crop_center_of_mass")
def crop_center_of_mass(
    case: PreparedCase,
    *,
    size: Sequence[int] = (144, 160, 128),
    before: Sequence[int] = (72, 84, 64),
    input: str | None = None,
    fill: Outside = 0.0,
) -> PreparedCase:
    """Cut the box of ``size`` [i, j, k] voxels that begins ``before`` voxels ahead of the centre of mass.

    The centre is that of the voxels above 0 of ``input`` (the reference by default), rounded to a voxel.  The
    box is shifted to lie inside the image; along an axis that is shorter than the box the image is centred
    and ``fill`` added.  The constants are those of Kayalibay et al. for BraTS, arXiv:1701.03056.
    """
    if len(size) != 3 or len(before) != 3 or min(size) < 1:
        raise ModelError(
            f"Step 'crop_center_of_mass': size {list(size)} or before {list(before)} is not three numbers."
        )
    name = input or case.reference
    if name not in case.images:
        raise ModelError(f"Step 'crop_center_of_mass': there is no input '{name}'.")
    available, wanted = np.asarray(case.images[name].grid.size), np.asarray(size)
    centre = _centre_of_mass(case.images[name].array > 0)
    if centre is None:
        case.reporter.warning("empty-image", f"'{name}' has no value above 0; the middle of it is examined.")
        start = (available - wanted) // 2
    else:
        start = np.clip(np.rint(centre).astype(int) - before, 0, np.maximum(available - wanted, 0))
    start = np.where(available < wanted, (available - wanted) // 2, start)
    return cut(case, start.tolist(), wanted.tolist(), fill, "crop_center_of_mass")


def _centre_of_mass(mask: np.ndarray) -> np.ndarray | None:
    """Mean index (i, j, k) of the True voxels, None if there are none."""
    count = np.count_nonzero(mask)
    if not count:
        return None
    lines = [mask.sum(axis=axes, dtype=np.int64) for axes in ((0, 1), (0, 2), (1, 2))]
    return np.array([line @ np.arange(line.size) / count for line in lines])
