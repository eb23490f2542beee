"""The steps that imported models need: stretch, and resampling along the image's own axes."""

from __future__ import annotations

import numpy as np
import pytest
from SegDLEngine.errors import ModelError
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.preprocessing.registry import PreparedCase, run_steps

OBLIQUE = (0.8, 0.0, -0.6, 0.0, 1.0, 0.0, 0.6, 0.0, 0.8)


def after(array, grid, *steps):
    return run_steps(PreparedCase({"CT": Image(array, grid)}, "CT"), steps).images["CT"]


def test_stretch_by_hand():
    line = np.array([[[-100, 0, 300]]], np.int16)
    stretched = after(line, Grid((3, 1, 1)), {"step": "stretch"})
    assert stretched.array.dtype == np.float32
    assert stretched.array.ravel().tolist() == pytest.approx([0, 0.25, 1])
    assert not after(np.full_like(line, 7), Grid((3, 1, 1)), {"step": "stretch"}).array.any()


def test_resample_keeps_axes_and_box():
    grid = Grid((8, 6, 5), (1.0, 2.0, 3.0), (10.0, 20.0, 30.0), OBLIQUE)
    array = np.broadcast_to(np.arange(8, dtype=np.float32), (5, 6, 8)).copy()
    found = after(array, grid, {"step": "resample", "spacing": [2.0, 1.0, 4.0]})
    assert found.grid.size == (4, 12, 4)
    assert found.grid.spacing == pytest.approx((2.0, 1.0, 3.75))
    assert found.grid.direction == OBLIQUE
    np.testing.assert_allclose(found.array[1, 5], [0.5, 2.5, 4.5, 6.5], atol=1e-5)
    outer = [image.to_physical(np.array([-0.5, -0.5, -0.5])) for image in (grid, found.grid)]
    np.testing.assert_allclose(*outer, atol=1e-9)
    with pytest.raises(ModelError, match="3 positive"):
        after(array, grid, {"step": "resample", "spacing": [1.0, 0.0, 1.0]})
