"""The preprocessing step that finds what skull stripping left: the voxels that are not background."""

from __future__ import annotations

import numpy as np

from SegDLEngine.images.image import Image
from SegDLEngine.images.resampling import resample
from SegDLEngine.preprocessing.registry import PreparedCase, step

# The background is the value that takes at least this part of the outermost voxels.
LEAST_SHARE = 0.5


@step("foreground_mask")
def foreground_mask(case: PreparedCase, *, name: str = "brain") -> PreparedCase:
    """Make the mask ``name``: voxels where any input differs from its constant background.

    The background of an input is the value that most of its outermost voxels have, whatever it is, so that
    z-scored images work like raw ones.  An image without such a value is not skull-stripped: it counts as
    foreground as a whole, with a warning.  The mask lies on the grid of the reference input.
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
    faces = [array.take(end, axis=axis).ravel() for axis in range(3) for end in (0, -1)]
    values, counts = np.unique(np.concatenate(faces), return_counts=True)
    if counts.max() < LEAST_SHARE * counts.sum():
        return None
    return array != values[counts.argmax()]
