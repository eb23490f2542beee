"""Masks from grey values, and components that are dropped because they lie mostly in one."""

from __future__ import annotations

import numpy as np
import pytest
from SegDLEngine.errors import ModelError
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.images.smoothing import gaussian
from SegDLEngine.inference.postprocessing import check_postprocessing, postprocess
from SegDLEngine.preprocessing.registry import PreparedCase, run_steps

GRID = Grid((20, 20, 6))
RULE = [{"step": "drop_mostly_inside", "mask": "blood", "share": 0.5}]


def _ct() -> Image:
    array = np.full(GRID.shape, 40, np.int16)
    array[:, :, 10:] = 300
    return Image(array, GRID, modality="CT", unit="HU")


def _mask(**constants) -> np.ndarray:
    case = PreparedCase({"CT": _ct()}, "CT")
    return run_steps(case, [{"step": "mask_between", "name": "blood", **constants}]).masks["blood"].array


def test_a_mask_holds_the_values_between_its_limits():
    assert np.array_equal(_mask(low=130) == 1, _ct().array == 300)
    assert np.array_equal(_mask(high=40) == 1, _ct().array == 40)
    assert not _mask(low=50, high=200).any()


def test_smoothing_keeps_single_bright_voxels_out():
    ct = np.zeros(GRID.shape, np.int16)
    ct[3, 10, 10] = 400
    case = PreparedCase({"CT": Image(ct, GRID)}, "CT")
    step = {"step": "mask_between", "name": "blood", "low": 130}
    assert run_steps(case, [step]).masks["blood"].array.sum() == 1
    assert not run_steps(case, [{**step, "smooth_mm": 2.0}]).masks["blood"].array.any()


def test_a_gaussian_keeps_constants_and_sums_and_has_its_width():
    grid = Grid((41, 41, 21), (1.0, 1.0, 2.0))
    constant = gaussian(np.full(grid.shape, 7.0, np.float32), grid, 3.0)
    assert np.allclose(constant, 7, atol=1e-4)
    point = np.zeros(grid.shape, np.float32)
    point[10, 20, 20] = 1
    smooth = gaussian(point, grid, 3.0)
    assert smooth.sum() == pytest.approx(1, abs=1e-3)
    for axis, spacing in ((0, 2.0), (2, 1.0)):
        profile = smooth.sum(axis=tuple({0, 1, 2} - {axis}))
        at = (np.arange(len(profile)) - len(profile) // 2) * spacing
        assert np.sqrt((profile * at**2).sum()) == pytest.approx(3.0, rel=0.06)


def test_an_unknown_input_is_named():
    with pytest.raises(ModelError, match="'PET'"):
        _mask(input="PET", low=1)


def test_components_go_or_stay_as_a_whole():
    labels = np.zeros(GRID.shape, np.uint8)
    labels[1:4, 2:5, 4:8] = 1
    labels[1:4, 8:11, 8:12] = 1
    labels[1:4, 14:17, 9:13] = 2
    masks = {"blood": Image(_mask(low=130), GRID)}
    kept = postprocess(Image(labels, GRID), masks, RULE).array
    assert np.array_equal(kept[:, :6], labels[:, :6])
    assert np.array_equal(kept[:, 7:12], labels[:, 7:12]), "half is not more than half"
    assert not kept[:, 13:].any()


def test_the_rule_needs_its_mask():
    check_postprocessing(RULE)
    with pytest.raises(ModelError, match="'blood'"):
        postprocess(Image(np.zeros(GRID.shape, np.uint8), GRID), {}, RULE)
