"""The part of an image that a network sees for a region of interest."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from seeded_model import write_seeded_package
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.inference.region import region_box
from SegDLEngine.options import SegmentOptions
from SegDLEngine.pipeline import segment
from tiny_model import tiny_card

GRID = Grid((100, 80, 60), (1.0, 1.0, 1.0))


def box(low, high, margin=(0, 0, 0), multiple=(1, 1, 1), least=(1, 1, 1)):
    """Of the voxels ``low`` to ``high`` (i, j, k); the grid's LPS axes turn the first two into RAS."""
    (i, j, k), (ii, jj, kk) = low, high
    return region_box(GRID, (-ii, -i, -jj, -j, k, kk), margin, multiple, least)


def test_box_is_the_region_with_its_margin():
    assert box((40, 30, 20), (49, 39, 24)) == ((40, 30, 20), (10, 10, 5))
    assert box((40, 30, 20), (49, 39, 24), margin=(5, 5, 30)) == ((35, 25, 0), (20, 20, 55))
    assert box((40, 30, 20), (49, 39, 24), multiple=(16, 16, 1)) == ((32, 16, 20), (18, 24, 5))


@pytest.mark.parametrize(
    ("low", "high", "start"),
    [((45, 35, 25), (54, 44, 34), 30), ((0, 35, 25), (9, 44, 34), 0), ((90, 35, 25), (99, 44, 34), 60)],
)
def test_box_has_the_least_size_where_the_grid_has_it(low, high, start):
    found_start, found_size = box(low, high, least=(40, 200, 10))
    assert (found_start[0], found_size[0]) == (start, 40)
    assert (found_start[1], found_size[1]) == (0, 80)
    assert (found_start[2], found_size[2]) == (25, 10)


def test_no_box_beside_the_grid():
    assert box((200, 30, 20), (210, 40, 30)) is None


def test_a_norm_over_the_window_sees_the_whole_window_of_a_region(tmp_path):
    """Instance norm depends on all that is in the window, further away than the convolutions reach."""
    torch.set_num_threads(1)
    side = 80
    card = tiny_card(
        network={"name": "baseline_unet3d", "options": {"filters": 2, "in_channels": 1}},
        preprocessing=[{"step": "window", "low": -1000, "high": 200}],
        inference={"mode": "windows", "patch": [side] * 3, "activation": "sigmoid", "threshold": 0.5},
    )
    model = write_seeded_package(tmp_path / "model", card)
    array = np.random.default_rng(1).integers(-1000, -900, (side, side, side)).astype(np.int16)
    array[:, :, 65:] += 1100
    ct = Image(array, Grid((side,) * 3), "CT", "HU")
    plain = {"device": "cpu", "precision": "fp32"}
    whole = segment({"CT": ct}, model, SegmentOptions(**plain)).maps["mean"].array[:4, :4, :4]
    corner = SegmentOptions(roi=(-3.5, 1, -3.5, 1, -1, 3.5), **plain)
    part = segment({"CT": ct}, model, corner).maps["mean"].array[:4, :4, :4]
    assert whole.std() > 1e-4
    np.testing.assert_allclose(part, whole, atol=1e-6)
