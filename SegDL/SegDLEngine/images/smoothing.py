"""Gaussian smoothing in millimetres."""

from __future__ import annotations

import numpy as np

from SegDLEngine.images.grid import Grid

# Share of the Gaussian that its kernel may lack, and the kernel's largest width in voxels.
KERNEL_ERROR, KERNEL_WIDTH = 0.01, 16


def gaussian(array: np.ndarray, grid: Grid, sigma_mm: float) -> np.ndarray:
    """``array`` (k, j, i) on ``grid`` smoothed with the standard deviation ``sigma_mm``, as float32.

    Beyond the border the nearest value goes on; a constant stays what it is.
    """
    import SimpleITK

    if sigma_mm <= 0:
        return array.astype(np.float32)
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(array, dtype=np.float32))
    image.SetSpacing(grid.spacing)
    smooth = SimpleITK.DiscreteGaussian(image, [sigma_mm**2] * 3, KERNEL_WIDTH, KERNEL_ERROR, True)
    return SimpleITK.GetArrayFromImage(smooth)
