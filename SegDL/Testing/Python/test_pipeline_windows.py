"""The way through with a 3D network over windows, judged on a network that is a threshold."""

from __future__ import annotations

import numpy as np
import pytest
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.models.card import load_card
from SegDLEngine.options import SegmentOptions
from SegDLEngine.pipeline import segment
from test_pipeline import BALLS, CPU, PLAIN, dice, image_of_balls, oblique_grid
from threshold_model import write_threshold_package, write_threshold_package_3d

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_threshold_package_3d(tmp_path_factory.mktemp("model") / "threshold")


@pytest.fixture(scope="module")
def plain(model):
    return segment({"CT": image_of_balls(PLAIN)}, model, SegmentOptions(**CPU))


def test_windows_find_what_slices_find(plain, tmp_path):
    slices = segment(
        {"CT": image_of_balls(PLAIN)}, write_threshold_package(tmp_path / "flat"), SegmentOptions(**CPU)
    )
    np.testing.assert_array_equal(plain.labels.array, slices.labels.array)
    np.testing.assert_allclose(plain.maps["mean"].array, slices.maps["mean"].array, atol=1e-4)
    assert [row["component"] for row in plain.lesions] == [1, 2]


def test_an_oblique_flipped_input_gets_its_own_grid_back(model, plain):
    grid = oblique_grid()
    copy = segment({"CT": image_of_balls(grid)}, model, SegmentOptions(**CPU))
    np.testing.assert_allclose(copy.labels.grid.ijk_to_ras, grid.ijk_to_ras, atol=1e-6)
    assert dice(copy.labels.array > 0, image_of_balls(grid).array >= -400) > 0.95
    for one, other in zip(copy.lesions, plain.lesions, strict=True):
        assert one["volume_ml"] == pytest.approx(other["volume_ml"], rel=0.1)
        assert one["centroid_ras"] == pytest.approx(other["centroid_ras"], abs=0.3)


def test_a_flipped_copy_gives_identical_voxels(model, plain):
    last = np.asarray(PLAIN.size) - 1
    origin = tuple(PLAIN.to_physical(last[None])[0])
    flipped = Grid(PLAIN.size, PLAIN.spacing, origin, tuple(-np.eye(3).ravel()))
    array = image_of_balls(PLAIN).array[::-1, ::-1, ::-1].copy()
    copy = segment({"CT": Image(array, flipped, "CT", "HU")}, model, SegmentOptions(**CPU))
    np.testing.assert_array_equal(copy.labels.array[::-1, ::-1, ::-1], plain.labels.array)


def test_a_region_gives_the_same_inside(model, plain):
    left, posterior, superior = BALLS[0][0]
    region = (-left - 9, -left + 9, -posterior - 9, -posterior + 9, superior - 9, superior + 9)
    result = segment({"CT": image_of_balls(PLAIN)}, model, SegmentOptions(roi=region, **CPU))
    found = result.labels.array > 0
    assert found.any() and not (found & (plain.labels.array == 0)).any()
    assert result.labels.grid == PLAIN


def test_monte_carlo_over_windows_repeats_itself(model, plain):
    options = SegmentOptions(samples=4, seed=5, **CPU)
    first, again = (segment({"CT": image_of_balls(PLAIN)}, model, options) for _ in range(2))
    np.testing.assert_array_equal(first.labels.array, plain.labels.array)
    np.testing.assert_array_equal(first.maps["std"].array, again.maps["std"].array)
    assert first.maps["std"].array[plain.labels.array > 0].mean() > 0.1


def test_mirror_images_give_uncertainty_to_a_card_that_says_so(tmp_path, plain):
    inference = {
        "mode": "windows", "patch": [32, 32, 16], "adapt_patch": True, "overlap": 0.5, "blending": "constant",
        "fill": [0.0], "batch": 2, "activation": "sigmoid", "threshold": 0.5, "mirroring": ["i", "j"],
        "uncertainty": "flip_tta", "samples": 4,
    }  # fmt: skip
    package = write_threshold_package_3d(tmp_path / "mirrored", inference=inference)
    assert load_card(package / "model.json").inference == inference
    result = segment({"CT": image_of_balls(PLAIN)}, package, SegmentOptions(**CPU))
    np.testing.assert_array_equal(result.labels.array, plain.labels.array)
    # A threshold does not mind mirrors.
    assert result.maps["std"].array.max() < 1e-4
    without = segment({"CT": image_of_balls(PLAIN)}, package, SegmentOptions(samples=0, **CPU))
    assert "std" not in without.maps
