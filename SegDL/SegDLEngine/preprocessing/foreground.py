"""The preprocessing step that finds what skull stripping left: the voxels that are not background."""

from __future__ import annotations

import numpy as np

from SegDLEngine.images.image import Image
from SegDLEngine.images.resampling import resample
from SegDLEngine.preprocessing.registry import PreparedCase, step

# The background takes at least this part of the outermost voxels.
LEAST_SHARE = 0.5

# Smoothing and interpolation leave a background that is even to this part of the range of values.
EVENNESS = 0.001


@step("foreground_mask")
def foreground_mask(case: PreparedCase, *, name: str = "brain") -> PreparedCase:
    """Make the mask ``name``: voxels where any input differs from its constant background.

    The background of an input is the median of its outermost voxels, whatever it is, so that z-scored images
    work like raw ones; most of these voxels have that value.  Where they do not, the skull was not stripped:
    the image counts as foreground as a whole, with a warning.  The mask lies on the reference input's grid.
    """
    inside = np.zeros(case.grid.shape, bool)
    for key, image in case.images.items():
        found = _foreground(image.array)
        if found is None:
            case.reporter.warning(
                "not-skull-stripped",
                f"'{key}' has no constant background; this model was made for images without the skull.",
            )
            found = np.ones(image.grid.shape, bool)
        mask = image.with_array(found.astype(np.uint8))
        if not image.grid.matches(case.grid):
            mask = resample(mask, case.grid, interpolation="nearest")
        inside |= mask.array != 0
    return case.with_mask(name, Image(inside.astype(np.uint8), case.grid))


def _foreground(array: np.ndarray) -> np.ndarray | None:
    """Where ``array`` (k, j, i) differs from its background; None if it has none."""
    faces = np.concatenate([array.take(end, axis=axis).ravel() for axis in range(3) for end in (0, -1)])
    background = float(np.median(faces))
    tolerance = EVENNESS * (float(array.max()) - float(array.min()))
    if np.count_nonzero(_distant(faces, background, tolerance)) > (1 - LEAST_SHARE) * faces.size:
        return None
    return _distant(array, background, tolerance)


def _distant(values: np.ndarray, background: float, tolerance: float) -> np.ndarray:
    return (values < background - tolerance) | (values > background + tolerance)
