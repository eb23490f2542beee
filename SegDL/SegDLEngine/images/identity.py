"""What an image is, as a number: the same voxels of one type on the same grid give the same identity.

File name, format and compression do not matter.  Only NIfTI, which rounds the geometry to float32, can give
another number when a coordinate lies on the border of two roundings.
"""

from __future__ import annotations

import hashlib

import numpy as np

from SegDLEngine.images.image import Image

# Digits of geometry that count (mm and direction cosines).
DECIMALS = 3


def identity(image: Image) -> str:
    """SHA-256 (hexadecimal) of size, geometry to 0.001, type and voxels; 0.05 s for 512x512x134 int16."""
    grid = image.grid
    geometry = np.round([*grid.spacing, *grid.origin, *grid.direction], DECIMALS) + 0.0
    array = np.ascontiguousarray(image.array)
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    digest = hashlib.sha256()
    digest.update(np.asarray(grid.size, dtype="<i8").tobytes())
    digest.update(geometry.astype("<f8").tobytes())
    digest.update(little.dtype.str.encode())
    digest.update(little.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
