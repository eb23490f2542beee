"""Reference segmentations become the card's labels on the grid of the reference image."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
import SimpleITK
from data_sets import GRID, box_labels, put, shipped_card, values
from dicom_labels import write_rtstruct, write_seg
from dicom_series import write_series
from SegDLEngine.errors import InputError
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.images.reading import read_image
from SegDLEngine.images.segmentation_file import write_segmentation
from SegDLTrainingLib.data.cases import CaseEntry
from SegDLTrainingLib.data.labels import case_labels, mapped_name, same_name
from SegDLTrainingLib.data.layouts import find_cases
from SegDLTrainingLib.data.loading import load_case

LUNG, BRAIN, LUNGS = "lung-tumor-unet2d", "brain-tumor-multiscale-cnn3d", "lungs-r231-unet2d"
NEOPLASM = ("SCT", "86049000", "Neoplasm, Primary")


def entry(path, **fields) -> CaseEntry:
    return CaseEntry("case", "case", {}, str(path), **fields)


def labels_of(path, model=LUNG, grid=GRID, warnings=None, **fields) -> np.ndarray:
    told = warnings if warnings is not None else []
    warn = lambda code, text: told.append(code)  # noqa: E731
    image = case_labels(entry(path, **fields), shipped_card(model), grid, warn)
    assert image.grid == grid and image.array.dtype == np.uint8
    return image.array


def test_values_outside_of_the_card_are_refused_by_number(tmp_path):
    array = box_labels().array + box_labels(value=5, start=6).array
    path = put(box_labels().with_array(array), tmp_path, "labels.nrrd")
    with pytest.raises(
        InputError, match=r"no label of 'lung-tumor-unet2d': 5 \(18 voxels\); its labels: 1 Lung"
    ):
        labels_of(path)
    assert np.array_equal(labels_of(path, label_map={"1": 1, "5": 0}), box_labels().array)
    assert np.array_equal(labels_of(path, label_map={"*": 1}), (array > 0).astype(np.uint8))
    with pytest.raises(InputError, match=r"no label of .*: 1 \(18 voxels\)"):
        labels_of(path, label_map={"5": 1})
    with pytest.raises(
        InputError, match="Case 'case' maps '5' to 2, which is no label of 'lung-tumor-unet2d'"
    ):
        labels_of(path, label_map={"1": 1, "5": 2})


def test_another_grid_is_resampled_and_told(tmp_path):
    half = Grid((24, 20, 8), (0.75, 0.75, 3.0), (-9.375, 3.625, -30.0))
    fine = np.kron(box_labels().array, np.ones((1, 2, 2), np.uint8))
    warnings: list[str] = []
    found = labels_of(put(Image(fine, half), tmp_path, "fine.nrrd"), warnings=warnings)
    assert np.array_equal(found, box_labels().array) and warnings == ["label-grid"]


def test_the_same_voxels_in_another_order_are_no_other_grid(tmp_path):
    end = tuple(GRID.to_physical(np.array([[11, 9, 0]]))[0])
    turned = Grid(GRID.size, GRID.spacing, end, (-1, 0, 0, 0, -1, 0, 0, 0, 1))
    warnings: list[str] = []
    path = put(Image(box_labels().array[:, ::-1, ::-1].copy(), turned), tmp_path, "turned.nrrd")
    assert np.array_equal(labels_of(path, warnings=warnings), box_labels().array) and warnings == []


def test_labels_cut_to_their_extent_are_not_resampled(tmp_path):
    part = GRID.crop((2, 1, 2), (8, 7, 5))
    warnings: list[str] = []
    path = put(Image(box_labels().array[2:7, 1:8, 2:10], part), tmp_path, "part.nrrd")
    assert np.array_equal(labels_of(path, warnings=warnings), box_labels().array) and warnings == []
    half = put(
        Image(box_labels().array[2:7, 1:8, 2:10], GRID.crop((9, 1, 2), (8, 7, 5))), tmp_path, "out.nrrd"
    )
    labels_of(half, warnings=warnings)
    assert warnings == ["label-grid"], "a part lies outside of the image"


def test_lost_headers_and_far_labels_are_refused(tmp_path):
    lost = put(Image(box_labels().array, Grid(GRID.size)), tmp_path, "lost.nrrd")
    with pytest.raises(InputError, match=r"has the size of its image but lies [\d.]+ mm off"):
        labels_of(lost)
    far = put(
        Image(box_labels().array[1:], Grid((12, 10, 7), GRID.spacing, (500, 0, 0))), tmp_path, "far.nrrd"
    )
    with pytest.raises(InputError, match="has its labels outside of the image"):
        labels_of(far)
    with pytest.raises(InputError, match="do not exist"):
        labels_of(tmp_path / "none.nrrd")


def overlapping(path, names=("Rest", "Anything"), codes=(None, NEOPLASM)):
    """A .seg.nrrd of two layers: segments of a 6x6x4 and a 3x3x2 box that overlap."""
    big, small = np.zeros(GRID.shape, np.uint8), box_labels().array
    big[2:6, 2:8, 2:8] = 1
    stored = SimpleITK.GetImageFromArray(np.stack([big, small], axis=-1), isVector=True)
    stored.SetSpacing(GRID.spacing)
    stored.SetOrigin(GRID.origin)
    for number, (name, code) in enumerate(zip(names, codes, strict=True)):
        coded = "^".join(code) if code else "SCT^85756007^Tissue"
        tags = f"TerminologyEntry:Context~SCT^1^Any~{coded}~^^~Context~^^~^^|"
        keys = {
            "ID": f"S{number}",
            "Name": name,
            "Color": "1 0 0",
            "LabelValue": "1",
            "Layer": str(number),
            "Tags": tags,
        }
        for key, value in keys.items():
            stored.SetMetaData(f"Segment{number}_{key}", value)
    SimpleITK.WriteImage(stored, str(path))
    return path, big, small


def test_segments_by_code_from_overlapping_layers(tmp_path):
    path, big, small = overlapping(tmp_path / "s.seg.nrrd")
    assert np.array_equal(labels_of(path), small)
    path, big, small = overlapping(tmp_path / "t.seg.nrrd", codes=(NEOPLASM, None))
    assert np.array_equal(labels_of(path), big)
    path, _, _ = overlapping(tmp_path / "u.seg.nrrd", codes=(None, None))
    with pytest.raises(InputError, match=r"no segment for a label .*it has 'Rest', 'Anything'"):
        labels_of(path)
    assert np.array_equal(labels_of(path, label_map={"rest": 1}), big)
    path, _, _ = overlapping(tmp_path / "v.seg.nrrd", names=("Liver", "LUNG TUMOR"), codes=(None, None))
    assert np.array_equal(labels_of(path), small)


def test_overlap_of_two_labels_is_told(tmp_path):
    path, big, _ = overlapping(tmp_path / "s.seg.nrrd", names=("oedema", "necrosis"), codes=(None, None))
    warnings: list[str] = []
    found = labels_of(path, BRAIN, warnings=warnings)
    # Necrosis (1) comes before oedema (2) in the card, so oedema wins.
    assert np.array_equal(found, big * 2) and warnings == ["overlap"]


def test_own_segmentations_of_sides_come_back(tmp_path):
    card = shipped_card(LUNGS)
    array = box_labels(value=1).array + box_labels(value=2, start=6).array
    path = write_segmentation(Image(array, GRID), card.labels, tmp_path / "lungs.seg.nrrd")
    assert np.array_equal(labels_of(path, LUNGS), array)


def dicom_patient(folder, grid=GRID):
    array = np.rint(values(1, grid).array).astype(np.int16)
    orientation = grid.axes.T[:2].ravel().tolist()
    write_series(
        folder / "ct",
        array,
        uid="1.2.3.4",
        spacing=grid.spacing[:2],
        origin=grid.origin,
        thickness=grid.spacing[2],
        orientation=orientation,
    )
    return array


ANGLE = np.radians(20)
OBLIQUE = (1, 0, 0, 0, np.cos(ANGLE), -np.sin(ANGLE), 0, np.sin(ANGLE), np.cos(ANGLE))


@pytest.mark.parametrize("direction", [GRID.direction, OBLIQUE], ids=["axial", "oblique"])
def test_dicom_series_with_a_seg(tmp_path, direction):
    grid = Grid(GRID.size, GRID.spacing, GRID.origin, direction)
    array = dicom_patient(tmp_path / "p1", grid)
    mask = box_labels().array > 0
    # The code of the SNOMED-RT edition that older objects have.
    codes = {"type": ("SRT", "M-80003", "Neoplasm, Primary")}
    write_seg(tmp_path / "p1" / "seg.dcm", grid, {"A": (~mask, {}), "B": (mask, codes)}, series="1.2.3.4")
    write_rtstruct(tmp_path / "p1" / "other.dcm", {"X": []}, series="9.9")
    found = find_cases(tmp_path, shipped_card(LUNG))
    assert (found.layout, found.problems) == ("dicom", [])
    (case,) = found.cases
    assert case.labels.endswith("seg.dcm") and case.inputs["CT"].endswith("#1.2.3.4")
    prepared = load_case(case, shipped_card(LUNG))
    assert np.array_equal(prepared.images["CT"].array, array)
    assert np.array_equal(prepared.labels.array, mask.astype(np.uint8))


def test_dicom_series_with_an_rtstruct(tmp_path):
    dicom_patient(tmp_path / "p1")
    corners = np.array([[2.5, 2.5, 4], [5.5, 2.5, 4], [5.5, 5.5, 4], [2.5, 5.5, 4]])
    write_rtstruct(
        tmp_path / "p1" / "rs.dcm", {"GTV-1": [GRID.to_physical(corners)], "BODY": []}, series="1.2.3.4"
    )
    (case,) = find_cases(tmp_path, shipped_card(LUNG)).cases
    with pytest.raises(InputError, match=r"no segment for a label .*it has 'GTV-1', 'BODY'"):
        load_case(case, shipped_card(LUNG))
    (case,) = find_cases(tmp_path, shipped_card(LUNG), label_map={"GTV*": 1}).cases
    expected = np.zeros(GRID.shape, np.uint8)
    expected[4, 3:6, 3:6] = 1
    assert np.array_equal(load_case(case, shipped_card(LUNG)).labels.array, expected)


def test_labels_of_another_series_are_told(tmp_path):
    dicom_patient(tmp_path / "p1")
    write_rtstruct(tmp_path / "p1" / "rs.dcm", {"GTV": []}, series="9.9")
    found = find_cases(tmp_path, shipped_card(LUNG))
    assert [(problem.severity, problem.code) for problem in found.problems] == [("warning", "other-series")]
    assert found.cases[0].labels.endswith("rs.dcm")


def test_a_damaged_file_is_a_problem_of_its_case(tmp_path):
    for name in ("p1", "p2"):
        dicom_patient(tmp_path / name)
        write_rtstruct(tmp_path / name / "rs.dcm", {"GTV": []}, series="1.2.3.4")
    damaged = tmp_path / "p1" / "ct" / "slice001.dcm"
    data = pydicom.dcmread(damaged)
    del data.PixelSpacing
    data.save_as(damaged)
    found = find_cases(tmp_path, shipped_card(LUNG))
    assert [(problem.severity, problem.case) for problem in found.problems] == [("error", "p1")]
    assert "slice001.dcm" in found.problems[0].text and [case.name for case in found.cases] == ["p1", "p2"]


def test_several_series_or_labels_are_a_problem_of_the_case(tmp_path):
    dicom_patient(tmp_path / "p1")
    write_series(tmp_path / "p1" / "other", np.zeros((4, 10, 12), np.int16), uid="1.2.3.5")
    for name in ("a.dcm", "b.dcm"):
        write_rtstruct(tmp_path / "p1" / name, {"GTV": []})
    found = find_cases(tmp_path, shipped_card(LUNG))
    assert [problem.code for problem in found.problems] == ["ambiguous", "ambiguous"]
    assert "a.dcm" in found.problems[0].text and "#1.2.3.5" in found.problems[1].text
    assert found.cases[0].inputs == {} and found.cases[0].labels is None
    assert read_image(f"{tmp_path / 'p1' / 'ct'}#1.2.3.4").grid.size == GRID.size


def test_names_and_wildcards():
    assert mapped_name("GTV-1", {"*": 0, "gtv*": 1}) == 0
    assert mapped_name("GTV-1", {"*": 0, "gtv-1": 1}) == 1
    assert mapped_name("Heart", {"gtv*": 1}) is None
    assert same_name("Non-enhancing tumour", "non enhancing Tumor") and not same_name("Oedema", "Core")
