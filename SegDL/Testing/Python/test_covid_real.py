"""The COVID-19 cards on real CT: single DICOM slices with opacities, and thoraxes; weights are seeded."""

from __future__ import annotations

import numpy as np
import pytest
from lung_models import COVID, LUNGS, covid_package, write_lungs_by_threshold
from realdata import real_file
from SegDLEngine.images.reading import read_image, read_labels
from SegDLEngine.options import SegmentOptions
from SegDLEngine.pipeline import segment
from SegDLEngine.preprocessing.lungs.agreement import agreement
from SegDLEngine.preprocessing.lungs.methods import METHODS, find_lungs

pytestmark = [pytest.mark.real_data, pytest.mark.usefixtures("one_thread")]
CPU = {"device": "cpu", "precision": "fp32"}
SLICES = (
    "A002304_19010112-135",
    "A046441_19001111-045",
    "A046441_19010101-23",
    "A056642_19001229-053",
    "A098752_19010127-128",
)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    write_lungs_by_threshold(folder / LUNGS)
    return folder


@pytest.mark.parametrize("name", SLICES)
def test_watershed_finds_the_aerated_lung_of_a_slice_and_the_region_holds_it(name):
    """Where lungs are consolidated the watershed loses most of them; the region of report 001 does not."""
    image = read_image(real_file("covid", f"{name}.dcm"), modality="CT", unit="HU")
    found, region = find_lungs(image, "watershed"), find_lungs(image, "classical").mask.array > 0
    assert found.report["warnings"] == []
    lungs = found.mask.array > 0
    pixel_cm2 = image.grid.spacing[0] * image.grid.spacing[1] / 100
    assert 30 < np.count_nonzero(lungs) * pixel_cm2 < 200
    assert np.count_nonzero(lungs & region) > 0.97 * np.count_nonzero(lungs)
    assert np.count_nonzero(region) * pixel_cm2 > 190


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", COVID)
def test_a_single_slice_goes_through_each_network_with_each_mask(name, method, models, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGDL_MODELS", str(models))
    path = real_file("covid", f"{SLICES[(COVID.index(name) + METHODS.index(method)) % len(SLICES)]}.dcm")
    image = read_image(path, modality="CT", unit="HU")
    result = segment({"CT": path}, covid_package(tmp_path, name, method), SegmentOptions(samples=0, **CPU))
    assert result.labels.grid == image.grid
    assert set(np.unique(result.labels.array)) == {0, 1}
    assert result.labels.array.any(axis=(1, 2)).all()
    assert all(row["voxels"] > 0 for row in result.lesions)


@pytest.mark.parametrize("method", METHODS)
def test_a_thorax_goes_through_with_each_mask(method, models, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGDL_MODELS", str(models))
    path = real_file("lung", "LUNG1-001", "ct_small_2x2x3.nii.gz")
    image = read_image(path, modality="CT", unit="HU")
    part = image.with_array(image.array[60:64].copy(), image.grid.crop((0, 0, 60), (*image.grid.size[:2], 4)))
    result = segment(
        {"CT": part}, covid_package(tmp_path, COVID[2], method), SegmentOptions(samples=0, **CPU)
    )
    assert result.labels.grid == part.grid
    assert result.labels.array.any()
    lungs = find_lungs(part, method, device="cpu").mask.array > 0
    assert not result.labels.array[:, ~lungs.any(axis=0)].any() or method == "unet"


def test_watershed_lungs_of_a_whole_thorax_agree_with_its_labels():
    image = read_image(real_file("lung", "LUNG1-001", "ct_small_2x2x3.nii.gz"), modality="CT", unit="HU")
    labels = read_labels(real_file("lung", "LUNG1-001", "labels_small_2x2x3.nii.gz"))
    found = agreement(find_lungs(image, "watershed"), labels, [1, 2])
    assert found["dice_before"] >= 0.9
    assert found["coverage_by_value"]["2"] >= 0.97
