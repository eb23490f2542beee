"""Between SegDL's Image and SimpleITK's: the one place where arrays change owner."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image

if TYPE_CHECKING:
    import SimpleITK


def to_sitk(image: Image) -> SimpleITK.Image:
    """A SimpleITK image with a copy of the voxels in this computer's byte order.

    bool becomes uint8 and float16 float32.
    """
    import SimpleITK

    array = image.array
    if array.dtype == bool:
        array = array.astype(np.uint8)
    elif array.dtype == np.float16:
        array = array.astype(np.float32)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    converted = SimpleITK.GetImageFromArray(np.ascontiguousarray(array))
    set_grid(converted, image.grid)
    return converted


def set_grid(converted: SimpleITK.Image, grid: Grid) -> None:
    """Give a SimpleITK image the geometry of ``grid``."""
    converted.SetSpacing(grid.spacing)
    converted.SetOrigin(grid.origin)
    converted.SetDirection(grid.direction)


def from_sitk(converted: SimpleITK.Image, modality: str = "", unit: str = "") -> Image:
    """The Image of a scalar 3D SimpleITK image, with a copy of its voxels.

    Raises ValueError if its geometry is not finite or has no volume.
    """
    import SimpleITK

    if not np.all(np.isfinite([*converted.GetOrigin(), *converted.GetSpacing(), *converted.GetDirection()])):
        raise ValueError("origin, spacing or direction is not finite")
    grid = Grid(converted.GetSize(), converted.GetSpacing(), converted.GetOrigin(), converted.GetDirection())
    return Image(SimpleITK.GetArrayFromImage(converted), grid, modality, unit)
