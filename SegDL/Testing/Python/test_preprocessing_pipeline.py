"""Steps that change the grid or restore the unit, through the whole pipeline and back."""

from __future__ import annotations

import numpy as np
import pytest
from SegDLEngine.errors import InputError
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.options import SegmentOptions
from SegDLEngine.pipeline import segment
from step_cases import dice
from threshold_model import write_threshold_package

CPU = {"device": "cpu", "precision": "fp32"}


WINDOW = {"step": "window", "low": -1000, "high": 200}


def soft_ball(centre=(4.0, -3.0, 2.0), radius=9.0) -> Image:
    """A ball of 100 HU in air with a soft border that passes -400 HU near the radius."""
    grid = Grid((40, 36, 20), (1.5, 1.5, 3.0), (-29.0, -26.0, -28.0))
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.size), indexing="ij"), axis=-1)
    distance = np.linalg.norm(grid.to_physical(index.reshape(-1, 3)) - centre, axis=1)
    values = -1000 + 1100 * np.clip((radius + 2 - distance) / 4, 0, 1)
    array = values.reshape(grid.size).transpose(2, 1, 0).astype(np.float32)
    return Image(array, grid, "CT", "HU")


def test_windowed_ct_is_segmented_and_measured_in_hounsfield_units(tmp_path):
    steps = [{"step": "recognise_window"}, {"step": "canonical", "spacing": [2, 2, 3], "outside": -1000}]
    model = write_threshold_package(tmp_path / "model", preprocessing=[*steps, WINDOW])
    ct = soft_ball()
    shown = ct.with_array(np.rint((ct.array.clip(-1250, 250) + 1250) / 1500 * 255))
    shown.array[0, 0, 0] = 255
    plain, windowed = (segment({"CT": each}, model, SegmentOptions(**CPU)) for each in (ct, shown))
    assert [event["code"] for event in windowed.warnings] == ["display-window"] and not plain.warnings
    assert dice(windowed.labels.array, plain.labels.array) > 0.98
    assert windowed.lesions[0]["maximum"] == pytest.approx(100, abs=3)


def test_region_brings_the_box_and_the_result_comes_back(tmp_path):
    box = {"step": "resample_to_box", "spacing": [1, 1, 1], "size": [48, 48, 48], "outside": -1000}
    model = write_threshold_package(tmp_path / "model", preprocessing=[box, WINDOW])
    ct = soft_ball()
    truth = ct.array >= -400
    whole = segment({"CT": ct}, model, SegmentOptions(**CPU))
    in_box = segment({"CT": ct}, model, SegmentOptions(roi=(-18, 10, -10, 16, -10, 14), **CPU))
    for result in (whole, in_box):
        assert result.labels.grid == ct.grid
        assert dice(result.labels.array, truth) > 0.97
    beside = SegmentOptions(roi=(300, 320, 0, 10, 0, 10), **CPU)
    with pytest.raises(InputError, match="region of interest"):
        segment({"CT": ct}, model, beside)


@pytest.mark.parametrize(
    "step", [{"step": "resize", "size": [32, 28, 24]}, {"step": "resize_in_plane", "size": [28, 32]}]
)
def test_result_of_a_resized_image_lies_where_the_ball_is(tmp_path, step):
    model = write_threshold_package(tmp_path / "model", preprocessing=[step, WINDOW])
    ct = soft_ball()
    result = segment({"CT": ct}, model, SegmentOptions(**CPU))
    assert result.labels.grid == ct.grid
    assert dice(result.labels.array, ct.array >= -400) > 0.95
    assert result.lesions[0]["centroid_ras"] == pytest.approx([-4, 3, 2], abs=0.3)
