"""The preprocessing step that spreads grey values evenly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from SegDLEngine.errors import ModelError
from SegDLEngine.images.image import Image
from SegDLEngine.preprocessing.registry import PreparedCase, step


@step("histogram_equalise")
def histogram_equalise(
    case: PreparedCase, *, mask: str | None = None, levels: int = 256, inputs: Sequence[str] | None = None
) -> PreparedCase:
    """Replace every value by the share of the voxels below it, 0..1 (float32).

    The shares are counted in ``levels`` bins, inside the named mask if there is one, and linear within a bin;
    voxels outside the mask follow the same curve.  A constant image becomes 0.
    """
    if levels < 2:
        raise ModelError(f"Step 'histogram_equalise': {levels} levels are too few.")
    inside = case.inside(mask, inputs, "histogram_equalise")

    def apply(image: Image) -> Image:
        sample = image.array if inside is None else image.array[inside]
        if sample.min() == sample.max():
            return image.with_array(np.zeros(image.array.shape, np.float32))
        counts, edges = np.histogram(sample, bins=levels)
        shares = np.concatenate([[0.0], np.cumsum(counts) / sample.size])
        # Slice by slice, as interpolation makes 64-bit numbers.
        result = np.empty(image.array.shape, np.float32)
        for before, after in zip(image.array, result, strict=True):
            after[:] = np.interp(before, edges, shares)
        return image.with_array(result)

    return case.map_images(apply, inputs)
