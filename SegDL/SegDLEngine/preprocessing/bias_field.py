"""The preprocessing step that evens out the sensitivity of MR coils."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from SegDLEngine.errors import ModelError
from SegDLEngine.images.conversion import to_sitk
from SegDLEngine.images.image import Image
from SegDLEngine.preprocessing.registry import PreparedCase, step


@step("correct_bias_field")
def correct_bias_field(
    case: PreparedCase,
    *,
    shrink: int = 4,
    iterations: Sequence[int] = (50, 50, 50),
    inputs: Sequence[str] | None = None,
) -> PreparedCase:
    """Divide each image by its smooth bias field, estimated on its voxels above 0; the array becomes float32.

    ``shrink``: every how many voxels are looked at, ``iterations``: the most on each level.  An image without
    values above 0 stays.  Source: N4, Tustison et al. 2010, doi:10.1109/TMI.2010.2046908.
    """
    if shrink < 1 or not iterations or min(iterations) < 1:
        raise ModelError(
            f"Step 'correct_bias_field': shrink {shrink} or iterations {list(iterations)} is not positive."
        )

    def apply(image: Image) -> Image:
        case.reporter.check()
        return image.with_array(_corrected(image, shrink, iterations))

    return case.map_images(apply, inputs)


def _corrected(image: Image, shrink: int, iterations: Sequence[int]) -> np.ndarray:
    import SimpleITK

    values = image.array.astype(np.float32)
    inside = values > 0
    if not inside.any():
        return values
    full = to_sitk(image.with_array(values))
    # An axis must keep a few voxels for the field's spline.
    factors = [max(1, min(shrink, length // 4)) for length in image.grid.size]
    small = SimpleITK.Shrink(full, factors)
    mask = SimpleITK.Shrink(to_sitk(image.with_array(inside.astype(np.uint8))), factors)
    if not SimpleITK.GetArrayViewFromImage(mask).any():
        return values
    correction = SimpleITK.N4BiasFieldCorrectionImageFilter()
    correction.SetMaximumNumberOfIterations([int(count) for count in iterations])
    correction.Execute(small, mask)
    field = SimpleITK.GetArrayFromImage(correction.GetLogBiasFieldAsImage(full))
    np.divide(values, np.exp(field, out=field), out=values)
    return values
