"""The cards of reports 000, 002 and 004, with small networks: from volumes to coded labels and maps."""

from __future__ import annotations

import numpy as np
import pytest
from SegDLEngine.images.segmentation_file import read_segmentation
from SegDLEngine.images.writing import write_image
from SegDLEngine.options import SegmentOptions
from SegDLEngine.pipeline import segment
from SegDLEngine.protocol import Reporter
from SegDLEngine.segment_job import run_segment_job
from small_cards import small_case, small_package

pytestmark = pytest.mark.usefixtures("one_thread")

CARDS = (
    "head-neck-tumor-se-resunet3d",
    "head-neck-tumor-rrse-unet3d",
    "head-neck-tumor-baseline-unet3d",
    "brain-tumor-multiscale-cnn3d",
    "brain-tumor-input-cascade",
    "brain-tumor-unet2d",
    "brain-tumor-unet3d-69k",
    "hand-bone-multiscale-cnn3d",
    "brain-tumor-res-unet2d",
)
CPU = {"device": "cpu", "precision": "fp32"}


@pytest.fixture(scope="module", params=CARDS)
def run(request, tmp_path_factory):
    """Name of the card, its reduced package, the case and the result with the card's own uncertainty."""
    name = request.param
    package = small_package(name, tmp_path_factory.mktemp("models"))
    case = small_case(name)
    return name, package, case, segment(case, package, SegmentOptions(samples=2, **CPU))


def test_result_lies_on_the_grid_of_the_first_input(run):
    _, _, case, result = run
    reference = next(iter(case.values())).grid
    assert result.labels.grid == reference
    assert result.labels.array.dtype == np.uint8
    values = {label["value"] for label in result.card["labels"]}
    assert set(np.unique(result.labels.array)) <= values | {0}
    assert {row["label"] for row in result.lesions} <= values


def test_maps_tell_probability_and_uncertainty(run):
    _, _, case, result = run
    reference = next(iter(case.values())).grid
    for kind in ("mean", "std", "entropy"):
        values = result.maps[kind].array
        assert result.maps[kind].grid == reference
        assert np.isfinite(values).all() and values.min() >= 0 and values.max() > values.min()
    assert result.maps["mean"].array.max() <= 1 and result.maps["std"].array.max() <= 0.5


def test_files_carry_names_and_codes_of_all_classes(run, tmp_path):
    _, package, case, result = run
    paths = {key: write_image(image, tmp_path / f"{key}.nrrd") for key, image in case.items()}
    outputs = {"segmentation": tmp_path / "found.seg.nrrd"}
    run_segment_job(package, paths, SegmentOptions(samples=0, **CPU), outputs, Reporter())
    found = read_segmentation(outputs["segmentation"])
    # The uncertainty changes nothing in the prediction.
    np.testing.assert_array_equal(found.labels.array, result.labels.array)
    np.testing.assert_allclose(found.labels.grid.ijk_to_ras, result.labels.grid.ijk_to_ras, atol=1e-6)
    expected = [(entry["value"], entry["name"], entry["terminology"]) for entry in result.card["labels"]]
    assert [(entry["value"], entry["name"], entry["terminology"]) for entry in found.segments] == expected
