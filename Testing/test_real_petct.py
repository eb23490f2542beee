"""The shipped PET/CT demonstration on real cases, as a user runs it.  Skipped where the images are absent."""

from __future__ import annotations

import json

import numpy as np
import pytest
from realdata import real_file, requires_data
from SegDLEngine.command_line.main import main as segdl
from SegDLEngine.images.reading import read_image, read_labels
from SegDLEngine.images.rtstruct import read_rtstruct
from SegDLEngine.images.segmentation_file import read_segmentation

MODEL = "petct-tumor-se-resunet3d-demo"
pytestmark = [requires_data, pytest.mark.real_data]


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * np.count_nonzero(first & second) / max(np.count_nonzero(first) + np.count_nonzero(second), 1)


def segmented(tmp_path, ct, pet, *options: str):
    """Labels that `segdl segment` wrote, and its report."""
    output, report = tmp_path / "tumour.seg.nrrd", tmp_path / "report.json"
    inputs = ["--input", f"CT={ct}", "--input", f"PET={pet}"]
    outputs = ["--output", str(output), "--report", str(report), "--progress", "none"]
    assert segdl(["segment", "--model", MODEL, *inputs, *outputs, "--precision", "fp32", *options]) == 0
    return read_segmentation(output), json.loads(report.read_text(encoding="utf-8"))


def test_sts_003_is_found_although_ct_and_pet_lie_on_different_grids(tmp_path):
    folder = real_file("petct", "STS_003")
    ct, pet = folder / "CT_image.nii.gz", folder / "PET_image.nii.gz"
    spread = tmp_path / "spread.nrrd"
    found, report = segmented(tmp_path, ct, pet, "--uncertainty", str(spread))
    grid = read_image(ct, modality="CT", unit="HU").grid
    assert not read_image(pet, modality="PT", unit="SUV").grid.matches(grid)
    assert found.labels.grid.matches(grid, 1e-6)
    tumour = read_labels(folder / "CT_mask.nii.gz").array > 0
    assert dice(found.labels.array > 0, tumour) > 0.65
    assert report["lesions"][0]["volume_ml"] == pytest.approx(74, rel=0.3)
    # The hottest voxel of this crop lies in the tumour, and resampling does not lower it.
    assert report["lesions"][0]["suv_max"] == pytest.approx(read_image(pet).array.max(), rel=1e-6)
    assert 2 < report["lesions"][0]["suv_mean"] < report["lesions"][0]["suv_max"]
    uncertainty = read_image(spread)
    assert uncertainty.grid.matches(grid, 1e-6)
    assert 0 < uncertainty.array.max() <= 0.5


def test_dicom_series_of_sts_025(tmp_path):
    folder = real_file("dicom", "STS_025")
    found, report = segmented(tmp_path, folder / "CT" / "image", folder / "PET" / "image", "--samples", "0")
    ct = read_image(folder / "CT" / "image")
    assert found.labels.grid.matches(ct.grid, 1e-6)
    outlines = read_rtstruct(folder / "CT" / "mask" / "RS.dcm", ct.grid)
    tumour = np.any([outline.mask for outline in outlines], axis=0)
    assert dice(found.labels.array > 0, tumour) > 0.7
    assert set(report["provenance"]["inputs"]) == {"CT", "PET"}
