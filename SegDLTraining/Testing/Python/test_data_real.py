"""Real images through layouts, check and loading."""

from __future__ import annotations

import numpy as np
import pytest
from data_sets import shipped_card
from realdata import real_file
from SegDLTrainingLib.data.cases import CaseEntry
from SegDLTrainingLib.data.check import check_cases
from SegDLTrainingLib.data.layouts import find_cases
from SegDLTrainingLib.data.loading import load_case

LUNG = "lung-tumor-unet2d"


def test_dicom_folders_with_structure_sets():
    card = shipped_card(LUNG)
    found = find_cases(real_file("dicom"), card)
    assert found.layout == "dicom"
    report = check_cases(found, card)
    volumes = {row["name"]: row["labels_ml"]["Lung tumour"] for row in report.rows}
    assert volumes == {
        "STS_025": pytest.approx(30.11, abs=0.01),
        "ct_phantom": pytest.approx(358.68, abs=0.01),
    }
    assert [(problem.code, problem.case) for problem in report.errors] == [("missing-input", "pet_raw")]


def test_pet_and_ct_of_one_dicom_patient(tmp_path):
    """The PET keeps its own grid; the labels are those that refer to the CT."""
    (tmp_path / "STS_025").symlink_to(real_file("dicom", "STS_025"))
    card = shipped_card("head-neck-tumor-se-resunet3d")
    (case,) = find_cases(tmp_path, card).cases
    assert case.labels.replace("\\", "/").endswith("/CT/mask/RS.dcm") and set(case.inputs) == {"CT", "PET"}
    prepared = load_case(case, card)
    assert prepared.images["PET"].grid.spacing[0] == pytest.approx(3.906, abs=1e-3)
    assert prepared.images["PET"].unit == "SUV" and prepared.labels.array.sum() == 9655


def test_folder_of_lung_cases():
    card = shipped_card(LUNG)
    found = find_cases(real_file("lung"), card, label_map={"1": 0, "2": 0, "3": 1, "4": 0})
    case = next(case for case in found.cases if case.name == "LUNG1-001")
    assert case.inputs["CT"].endswith("ct.nii.gz") and case.labels.endswith("labels.nii.gz")
    small = {"CT": case.inputs["CT"].replace("ct.nii", "ct_tumour_crop.nii")}
    labels = case.labels.replace("labels.nii", "labels_tumour_crop.nii")
    prepared = load_case(CaseEntry("crop", "crop", small, labels, label_map=case.label_map), card)
    assert prepared.labels.grid.matches(prepared.grid) and set(np.unique(prepared.labels.array)) == {0, 1}
    plain = {"lung1": 837, "phantom_pat2": 2256, "phantom_pat3": 4047}
    for name, count in plain.items():
        (entry,) = [item for item in find_cases(real_file("lung"), card).cases if item.name == name]
        assert int(load_case(entry, card).labels.array.sum()) == count


def test_petct_folders():
    report = check_cases(
        find_cases(real_file("petct"), shipped_card("head-neck-tumor-se-resunet3d")),
        shipped_card("head-neck-tumor-se-resunet3d"),
    )
    assert not report.errors
    voxels = {"STS_002": 17090, "STS_003": 25693, "STS_019": 5564}
    for row in report.rows:
        volume = voxels[row["name"]] * np.prod(row["spacing"]) / 1000
        assert row["labels_ml"]["Head and neck tumour"] == pytest.approx(volume, rel=1e-3)


def test_brain_by_names_and_by_manifest():
    card = shipped_card("brain-tumor-multiscale-cnn3d")
    found = find_cases(real_file("brain"), card)
    assert [problem.case for problem in found.problems] == ["TCGA-FG-6692"]
    folder = real_file("brain", "TCGA-FG-6692")
    names = {"T1": "t1", "T1c": "t1c", "T2": "t2", "FLAIR": "fla"}
    case = next(case for case in found.cases if case.name == "TCGA-FG-6692")
    assert case.inputs == {key: str(folder / f"{name}.nii.gz") for key, name in names.items()}
    chosen = CaseEntry("a", "a", case.inputs, str(folder / "seg_fusion_mav.nii.gz"))
    labels = load_case(chosen, card).labels.array
    assert [int((labels == value).sum()) for value in (1, 2, 4)] == [2477, 20862, 6840]
