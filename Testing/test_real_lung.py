"""The shipped lung-tumour model on real CTs, as a user runs it.  Skipped where the images are absent."""

from __future__ import annotations

import json

import numpy as np
import pytest
from realdata import real_file, requires_data
from SegDLEngine.command_line.main import main as segdl
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.images.reading import read_image, read_labels
from SegDLEngine.images.resampling import resample
from SegDLEngine.options import SegmentOptions
from SegDLEngine.pipeline import segment

MODEL = "lung-tumor-unet2d"
FAST = SegmentOptions(samples=0, precision="fp32")
pytestmark = [requires_data, pytest.mark.real_data]


def dice(first: np.ndarray, second: np.ndarray) -> float:
    first, second = first > 0, second > 0
    return 2 * np.count_nonzero(first & second) / max(np.count_nonzero(first) + np.count_nonzero(second), 1)


@pytest.fixture(scope="module")
def lung1_001():
    """LUNG1-001 on 2x2x3 mm with its labels (1 and 2 lungs, 3 tumour)."""
    folder = real_file("lung", "LUNG1-001")
    ct = read_image(folder / "ct_small_2x2x3.nii.gz", modality="CT", unit="HU")
    return ct, read_labels(folder / "labels_small_2x2x3.nii.gz")


@pytest.fixture(scope="module")
def lung1_001_result(lung1_001):
    return segment({"CT": lung1_001[0]}, MODEL, FAST)


def test_the_tumour_of_lung1_001_is_detected(lung1_001, lung1_001_result):
    ct, labels = lung1_001
    tumour = labels.array == 3
    found = lung1_001_result.labels.array > 0
    assert lung1_001_result.labels.grid.matches(ct.grid, 1e-6)
    assert np.count_nonzero(found & tumour) > 0.25 * np.count_nonzero(tumour)
    assert dice(found, tumour) > 0.4


def test_the_tumour_free_thorax_has_next_to_nothing():
    ct = read_image(real_file("lung", "normal_thorax", "ct.nii.gz"), modality="CT", unit="HU")
    result = segment({"CT": ct}, MODEL, FAST)
    assert sum(lesion["volume_ml"] for lesion in result.lesions) < 2.0


def rotation(axis: int, degrees: float) -> np.ndarray:
    """3x3 rotation about an LPS axis."""
    angle = np.deg2rad(degrees)
    first, second = [index for index in range(3) if index != axis]
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = np.cos(angle)
    matrix[first, second], matrix[second, first] = -np.sin(angle), np.sin(angle)
    return matrix


def flipped(image: Image) -> Image:
    """The same voxels with all three axes reversed."""
    grid = image.grid
    origin = grid.to_physical(np.asarray([grid.size]) - 1)[0]
    other = Grid(grid.size, grid.spacing, tuple(origin), tuple((-grid.axes).ravel()))
    return image.with_array(np.ascontiguousarray(image.array[::-1, ::-1, ::-1]), other)


def oblique(image: Image, spacing_mm: tuple[float, ...]) -> Image:
    """Resampled onto a turned, anisotropic grid that holds the whole image."""
    axes = rotation(2, 9) @ rotation(0, 6)
    spacing = np.array(spacing_mm)
    corners = image.grid.corners()
    local = corners @ axes
    low, high = local.min(axis=0), local.max(axis=0)
    size = np.ceil((high - low) / spacing).astype(int) + 1
    grid = Grid(tuple(size), tuple(spacing), tuple(low @ axes.T), tuple(axes.ravel()))
    return resample(image, grid, interpolation="linear", outside=-1000)


def test_a_flipped_copy_gives_the_same_segmentation(lung1_001, lung1_001_result):
    result = segment({"CT": flipped(lung1_001[0])}, MODEL, FAST)
    assert dice(result.labels.array[::-1, ::-1, ::-1], lung1_001_result.labels.array) >= 0.999


def agreement(ct: Image, spacing_mm: tuple[float, ...]) -> float:
    """Dice of the mask and that of an oblique, anisotropic copy, brought back."""
    copy = oblique(ct, spacing_mm)
    result = segment({"CT": copy}, MODEL, FAST)
    assert result.labels.grid.matches(copy.grid, 1e-6)
    back = resample(result.labels, ct.grid, interpolation="nearest", outside=0)
    return dice(back.array, segment({"CT": ct}, MODEL, FAST).labels.array)


def test_an_oblique_anisotropic_copy_gives_the_same_segmentation():
    """The copy keeps the resolution, so the mask itself would come back with a Dice of 0.998."""
    ct = read_image(real_file("lung", "LUNG1-001") / "ct.nii.gz", modality="CT", unit="HU")
    assert agreement(ct, (0.8, 1.0, 1.6)) >= 0.98


def test_a_copy_that_interpolation_has_blurred_gives_nearly_the_same_segmentation(lung1_001):
    assert agreement(lung1_001[0], (1.7, 1.9, 2.6)) >= 0.95


def test_lungs_command_covers_lungs_and_tumour(tmp_path):
    folder = real_file("lung", "LUNG1-001")
    report = tmp_path / "lungs.json"
    words = ["lungs", str(folder / "ct.nii.gz"), str(tmp_path / "lungs.nrrd"), "--report", str(report)]
    words += ["--reference", str(folder / "labels.nii.gz"), "--reference-values", "1,2,3"]
    assert segdl(words) == 0
    found = read_labels(tmp_path / "lungs.nrrd")
    labels = read_labels(folder / "labels.nii.gz").array
    wanted = np.isin(labels, (1, 2, 3))
    assert np.count_nonzero(wanted & (found.array > 0)) >= 0.99 * np.count_nonzero(wanted)
    assert json.loads(report.read_text())["couch_found"]
