"""DICOM SEG: frames by their positions, overlapping segments, codes."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from dicom_labels import write_seg
from SegDLEngine.errors import InputError
from SegDLEngine.images.dicom_seg import read_dicom_seg
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.segment_masks import read_segment_masks

ANGLE = np.radians(25)
TURNED = (np.cos(ANGLE), 0, np.sin(ANGLE), 0, 1, 0, -np.sin(ANGLE), 0, np.cos(ANGLE))
TUMOUR = {
    "category": ("SCT", "49755003", "Morphologically Altered Structure"),
    "type": ("SCT", "86049000", "Neoplasm, Primary"),
    "region": ("SCT", "39607008", "Lung"),
}


def masks(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Two random segments that overlap and leave slices out."""
    generator = np.random.default_rng(3)
    first, second = generator.random((2, *grid.shape)) < 0.3
    first[[0, 3]] = False
    second[[1, 2]] = False
    return first, second


@pytest.mark.parametrize("direction", [(1, 0, 0, 0, 1, 0, 0, 0, 1), TURNED], ids=["axial", "oblique"])
def test_sparse_overlapping_frames_in_any_order(tmp_path, direction):
    grid = Grid((9, 7, 6), (0.8, 0.7, 2.5), (-20, 30, -100), direction)
    first, second = masks(grid)
    frames = int(first.any(axis=(1, 2)).sum() + second.any(axis=(1, 2)).sum())
    order = np.random.default_rng(1).permutation(frames).tolist()
    path = write_seg(
        tmp_path / "seg.dcm", grid, {"Tumour": (first, TUMOUR), "Other": (second, {})}, order=order
    )
    tumour, other = read_dicom_seg(path, grid)
    assert np.array_equal(tumour.mask, first) and np.array_equal(other.mask, second)
    assert (tumour.name, other.name) == ("Tumour", "Other")
    assert tumour.terminology["type"] == {"scheme": "SCT", "code": "86049000", "meaning": "Neoplasm, Primary"}
    assert tumour.terminology["region"]["code"] == "39607008" and other.terminology == {}
    assert np.array_equal(read_segment_masks(path, grid)[0].mask, first)


def test_onto_a_flipped_and_a_finer_image(tmp_path):
    grid = Grid((9, 7, 6), (0.8, 0.7, 2.5), (-20, 30, -100))
    first, _ = masks(grid)
    path = write_seg(tmp_path / "seg.dcm", grid, {"Tumour": (first, {})})
    end = tuple(grid.to_physical(np.array([[8, 0, 5]]))[0])
    flipped = Grid(grid.size, grid.spacing, end, (-1, 0, 0, 0, 1, 0, 0, 0, -1))
    assert np.array_equal(read_dicom_seg(path, flipped)[0].mask, first[::-1, :, ::-1])
    finer = Grid((18, 14, 12), (0.4, 0.35, 1.25), (-20.2, 29.825, -100.625))
    assert np.array_equal(read_dicom_seg(path, finer)[0].mask, np.kron(first, np.ones((2, 2, 2))) > 0)


@pytest.mark.parametrize("thickness", [2.5, 5.0, 7.5])
def test_overlapping_slices_are_no_further_apart_than_their_steps(tmp_path, thickness):
    """CT of 5 mm slices every 2.5 mm: the thickness says nothing of where the neighbours lie."""
    grid = Grid((9, 7, 8), (0.8, 0.7, 2.5), (-20, 30, -100))
    first = np.zeros(grid.shape, dtype=bool)
    first[2:6] = np.random.default_rng(3).random((4, 7, 9)) < 0.3
    path = write_seg(tmp_path / "seg.dcm", grid, {"Tumour": (first, {})})
    data = pydicom.dcmread(path)
    measures = data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.SliceThickness = thickness
    del measures.SpacingBetweenSlices
    data.save_as(path)
    assert np.array_equal(read_dicom_seg(path, grid)[0].mask, first)


def test_fractional_counts_from_half_on(tmp_path):
    grid = Grid((4, 2, 1))
    values = np.array([[[0, 99, 100, 200], [1, 0, 150, 99]]])
    path = write_seg(tmp_path / "seg.dcm", grid, {"Tumour": (values, {})}, kind="FRACTIONAL")
    assert np.array_equal(read_dicom_seg(path, grid)[0].mask, values >= 100)


def test_refuses_what_cannot_be_placed(tmp_path):
    grid = Grid((9, 7, 6))
    path = write_seg(tmp_path / "seg.dcm", grid, {"Tumour": (masks(grid)[0], {})})
    data = pydicom.dcmread(path)
    del data.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    data.save_as(tmp_path / "lost.dcm")
    with pytest.raises(InputError, match=r"lost\.dcm' lacks a usable ImageOrientationPatient"):
        read_dicom_seg(tmp_path / "lost.dcm", grid)
    data = pydicom.dcmread(path)
    del data.SegmentSequence[0].SegmentNumber
    data.save_as(tmp_path / "number.dcm")
    with pytest.raises(InputError, match=r"number\.dcm' cannot be read as segments") as caught:
        read_segment_masks(tmp_path / "number.dcm", grid)
    assert "SegmentNumber" in caught.value.detail
    (tmp_path / "text.dcm").write_text("no DICOM")
    with pytest.raises(InputError, match=r"text\.dcm' holds no segments"):
        read_segment_masks(tmp_path / "text.dcm", grid)
