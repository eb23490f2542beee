"""Every layout of folders gives the cases that are in it, found by itself and by name."""

from __future__ import annotations

import json

import numpy as np
import pytest
from data_sets import box_labels, card_with, put, several, shipped_card, values
from SegDLEngine.errors import InputError
from SegDLTrainingLib.data.layouts import find_cases
from SegDLTrainingLib.data.loading import load_case
from SegDLTrainingLib.data.names import input_for, is_mask, modality_tag

LUNG, PETCT, BRAIN = "lung-tumor-unet2d", "head-neck-tumor-se-resunet3d", "brain-tumor-multiscale-cnn3d"
WHOLE = "brain-tumor-res-unet2d"


def describe(folder, **fields) -> None:
    (folder / "dataset.json").write_text(json.dumps(fields))


@pytest.mark.parametrize("described", [True, False], ids=["dataset.json", "bare"])
def test_nnunet(tmp_path, described):
    for number in (2, 1):
        put(values(number), tmp_path, "imagesTr", f"LUNG_{number:03d}_0000.nii.gz")
        put(box_labels(), tmp_path, "labelsTr", f"LUNG_{number:03d}.nii.gz")
    put(values(3), tmp_path, "imagesTs", "LUNG_003_0000.nii.gz")
    if described:
        describe(tmp_path, channel_names={"0": "CT"}, labels={"background": 0, "cancer": 1})
    found = find_cases(tmp_path, shipped_card(LUNG))
    assert (found.layout, [case.name for case in found.cases]) == ("nnunet", ["LUNG_001", "LUNG_002"])
    prepared = load_case(found.cases[0], shipped_card(LUNG))
    assert np.allclose(prepared.images["CT"].array, values(1).array)
    assert (
        np.array_equal(prepared.labels.array, box_labels().array) and prepared.labels.array.dtype == np.uint8
    )


def test_nnunet_channels_are_told_by_name(tmp_path):
    put(values(1, kind="PT"), tmp_path, "imagesTr", "HN_0000.nii.gz")
    put(values(2), tmp_path, "imagesTr", "HN_0001.nii.gz")
    put(box_labels(), tmp_path, "labelsTr", "HN.nii.gz")
    describe(tmp_path, modality={"0": "PET", "1": "CT"}, labels={"0": "background", "1": "GTV"})
    (case,) = find_cases(tmp_path, shipped_card(PETCT)).cases
    assert case.inputs["PET"].endswith("HN_0000.nii.gz") and case.inputs["CT"].endswith("HN_0001.nii.gz")
    describe(tmp_path, modality={"0": "T1", "1": "T2"})
    with pytest.raises(
        InputError, match=r"dataset\.json' has the channels T1, T2; the model .* needs CT, PET"
    ):
        find_cases(tmp_path, shipped_card(PETCT))


def test_msd_with_volumes_in_one_file(tmp_path):
    sequences = [values(number, kind="MR") for number in range(4)]
    several(sequences, tmp_path / "imagesTr" / "BRATS_001.nii.gz")
    put(box_labels(value=3), tmp_path, "labelsTr", "BRATS_001.nii.gz")
    rows = [{"image": "./imagesTr/BRATS_001.nii.gz", "label": "./labelsTr/BRATS_001.nii.gz"}]
    modality = {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}
    labels = {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"}
    describe(tmp_path, modality=modality, labels=labels, training=rows)
    found = find_cases(tmp_path, shipped_card(BRAIN))
    assert found.layout == "msd"
    assert found.cases[0].label_map == {"1": 2, "2": 3, "3": 4}
    prepared = load_case(found.cases[0], shipped_card(BRAIN))
    for name, number in (("FLAIR", 0), ("T1", 1), ("T1c", 2), ("T2", 3)):
        assert np.allclose(prepared.images[name].array, sequences[number].array), name
    assert np.array_equal(prepared.labels.array, box_labels(value=4).array)
    describe(tmp_path, modality=modality, labels={**labels, "2": "core"}, training=rows)
    (problem,) = find_cases(tmp_path, shipped_card(BRAIN)).problems
    assert problem.severity == "error" and "label 2 'core' is none of" in problem.text
    assert "--map" in problem.hint
    assert not find_cases(tmp_path, shipped_card(BRAIN), label_map={"1": 2, "2": 0, "3": 4}).problems


def test_nnunet_files_that_have_no_place_are_told(tmp_path):
    put(values(1), tmp_path, "imagesTr", "a_0000.nii.gz")
    put(values(2), tmp_path, "imagesTr", "a_0000.nrrd")
    put(box_labels(), tmp_path, "labelsTr", "b.nii.gz")
    describe(tmp_path, channel_names={"0": "CT"}, labels={"background": 0, "cancer": 1})
    problems = find_cases(tmp_path, shipped_card(LUNG)).problems
    assert {(problem.severity, problem.code, problem.case) for problem in problems} == {
        ("error", "ambiguous", "a"), ("warning", "no-image", "b")
    }  # fmt: skip
    describe(tmp_path, channel_names={"CT": 0})
    with pytest.raises(InputError, match=r"dataset\.json' does not number the channels: CT"):
        find_cases(tmp_path, shipped_card(LUNG))


def test_names_of_labels_decide_not_their_numbers(tmp_path):
    card = shipped_card(BRAIN)
    names = {str(label["name"]): 10 + int(label["value"]) for label in card.labels}
    for channel in range(4):
        put(values(channel, kind="MR"), tmp_path, "imagesTr", f"B_{channel:04d}.nii.gz")
    channel_names = {"0": "T1", "1": "T1c", "2": "T2", "3": "FLAIR"}
    describe(tmp_path, channel_names=channel_names, labels={"background": 0, **names})
    (case,) = find_cases(tmp_path, card).cases
    assert case.label_map == {str(10 + int(label["value"])): int(label["value"]) for label in card.labels}


@pytest.mark.parametrize(
    ("names", "enhancing"),
    [(("_t1", "_t1ce", "_t2", "_flair", "_seg"), 4), (("-t1n", "-t1c", "-t2w", "-t2f", "-seg"), 3)],
    ids=["2018-2021", "2023"],
)
def test_brats(tmp_path, names, enhancing):
    case = "BraTS-GLI-00012-001" if enhancing == 3 else "BraTS2021_00012"
    sequences = [values(number, kind="MR") for number in range(4)]
    for name, image in zip(names, [*sequences, box_labels(value=enhancing)], strict=True):
        put(image, tmp_path, "HGG", case, f"{case}{name}.nii.gz")
    found = find_cases(tmp_path, shipped_card(BRAIN))
    assert (found.layout, found.cases[0].name) == ("brats", case)
    assert found.cases[0].patient == ("BraTS-GLI-00012" if enhancing == 3 else case)
    prepared = load_case(found.cases[0], shipped_card(BRAIN))
    for name, image in zip(("T1", "T1c", "T2", "FLAIR"), sequences, strict=True):
        assert np.allclose(prepared.images[name].array, image.array), name
    assert set(np.unique(prepared.labels.array)) == {0, 4}
    whole = shipped_card(WHOLE)
    (one,) = find_cases(tmp_path, whole).cases
    assert set(np.unique(load_case(one, whole).labels.array)) == {0, whole.labels[0]["value"]}


def brats_patient(folder, case, first=0, label=4, names=("_t1", "_t1ce", "_t2", "_flair")):
    for number, name in enumerate(names, start=first):
        put(values(number, kind="MR"), folder, f"{case}{name}.nii.gz")
    put(box_labels(value=label), folder, f"{case}_seg.nii.gz")


def test_brats_patients_in_one_folder_stay_apart(tmp_path):
    brats_patient(tmp_path, "BraTS2021_00000")
    brats_patient(tmp_path, "BraTS2021_00001", first=4)
    found = find_cases(tmp_path, shipped_card(BRAIN))
    assert [case.name for case in found.cases] == ["BraTS2021_00000", "BraTS2021_00001"]
    for number, case in enumerate(found.cases):
        assert all(case.name in path for path in [*case.inputs.values(), case.labels])
        images = load_case(case, shipped_card(BRAIN)).images
        assert np.allclose(images["T1"].array, values(4 * number, kind="MR").array)


def test_two_cases_of_one_name_are_told(tmp_path):
    for group in ("HGG", "copy"):
        brats_patient(tmp_path / group / "BraTS2021_00000", "BraTS2021_00000")
    (problem,) = find_cases(tmp_path, shipped_card(BRAIN)).problems
    assert (problem.severity, problem.code, problem.case) == ("error", "name", "BraTS2021_00000")
    assert "HGG" in problem.text and "copy" in problem.text


def test_the_cavity_of_brats_2024_is_no_tumour(tmp_path):
    names = ("-t1n", "-t1c", "-t2w", "-t2f")
    brats_patient(tmp_path, "BraTS-GLI-00005-100", label=4, names=names)
    whole = shipped_card(WHOLE)
    with pytest.raises(InputError, match=r"no label of .*: 4 \(18 voxels\)"):
        load_case(find_cases(tmp_path, whole).cases[0], whole)


def hecktor_2021(folder):
    put(values(1), folder, "hecktor_nii", "CHGJ007_ct.nii.gz")
    put(values(2, kind="PT"), folder, "hecktor_nii", "CHGJ007_pt.nii.gz")
    put(box_labels(), folder, "hecktor_nii", "CHGJ007_gtvt.nii.gz")
    (folder / "hecktor2021_bbox_training.csv").write_text(
        "PatientID,x1,x2,y1,y2,z1,z2\nCHGJ007,-8,6,5,17,-28,-10\nCHUM001,0,1,0,1,0,1\n"
    )


def test_hecktor_2021_with_boxes(tmp_path):
    hecktor_2021(tmp_path)
    found = find_cases(tmp_path, shipped_card(PETCT))
    (case,) = found.cases
    assert (found.layout, case.name, case.centre) == ("hecktor", "CHGJ007", "CHGJ")
    # LPS of the table, RAS of the region.
    assert case.region == (-6, 8, -17, -5, -28, -10)
    assert [(problem.severity, problem.case) for problem in found.problems] == [("warning", "CHUM001")]
    prepared = load_case(case, shipped_card(PETCT))
    assert prepared.region == case.region and prepared.labels.array.sum() == 18
    (tmp_path / "hecktor2021_bbox_training.csv").write_text("PatientID,x1\nCHGJ007,far\n")
    with pytest.raises(InputError, match=r"Row 2 of .*bbox_training\.csv' is no bounding box"):
        find_cases(tmp_path, shipped_card(PETCT))


@pytest.mark.parametrize("label", ["labelsTr/CHUM-001", "labelsTr/CHUM_001", "imagesTr/CHUM-001"])
def test_hecktor_2022_leaves_nodes_out_of_a_card_without_them(tmp_path, label):
    put(values(1), tmp_path, "imagesTr", "CHUM-001__CT.nii.gz")
    put(values(2, kind="PT"), tmp_path, "imagesTr", "CHUM-001__PT.nii.gz")
    both = box_labels().array + box_labels(value=2, start=6).array
    put(box_labels().with_array(both), tmp_path, f"{label}.nii.gz")
    found = find_cases(tmp_path, shipped_card(PETCT))
    assert (found.layout, found.cases[0].centre) == ("hecktor", "CHUM")
    assert np.array_equal(load_case(found.cases[0], shipped_card(PETCT)).labels.array, box_labels().array)
    label = shipped_card(PETCT).labels[0]
    nodes = {**label, "value": 2, "name": "Lymph nodes"}
    card = card_with(PETCT, labels=[label, nodes])
    assert np.array_equal(load_case(find_cases(tmp_path, card).cases[0], card).labels.array, both)


def test_hecktor_with_copies_of_files(tmp_path):
    hecktor_2021(tmp_path)
    put(values(1), tmp_path, "resampled", "CHGJ007_ct.nii.gz")
    problems = find_cases(tmp_path, shipped_card(PETCT)).problems
    assert [(problem.severity, problem.code, problem.case) for problem in problems] == [
        ("error", "ambiguous", "CHGJ007"), ("warning", "bounding-box", "CHUM001")
    ]  # fmt: skip
    assert "resampled" in problems[0].text and "hecktor_nii" in problems[0].text


def test_folder_for_each_patient(tmp_path):
    for name in ("b", "a"):
        put(values(ord(name)), tmp_path, name, "CT_image.nrrd")
        put(values(0), tmp_path, name, "ct_small_2x2x3.nrrd")
        put(box_labels(), tmp_path, name, "CT_mask.nrrd")
        put(box_labels(start=1), tmp_path, name, "PET_mask.nrrd")
    found = find_cases(tmp_path, shipped_card(LUNG))
    assert (found.layout, [case.name for case in found.cases]) == ("folders", ["a", "b"])
    assert found.cases[0].inputs["CT"].endswith("CT_image.nrrd")
    assert found.cases[0].labels.endswith("CT_mask.nrrd")
    put(box_labels(), tmp_path, "a", "CT_seg.nrrd")
    found = find_cases(tmp_path, shipped_card(LUNG))
    assert found.cases[0].labels is None
    assert "CT_mask.nrrd, CT_seg.nrrd: each could be the labels" in found.problems[0].text


def test_what_is_no_data_set_is_said(tmp_path):
    with pytest.raises(InputError, match=r"layout of .* is none that is known"):
        find_cases(tmp_path, shipped_card(LUNG))
    with pytest.raises(InputError, match="has no cases in the layout 'brats'"):
        find_cases(tmp_path, shipped_card(LUNG), layout="brats")
    with pytest.raises(InputError, match="do not exist"):
        find_cases(tmp_path / "none", shipped_card(LUNG))


@pytest.mark.parametrize(
    ("text", "tag"),
    [("mr_t1", "T1"), ("T1c", "T1c"), ("T1-Gd", "T1c"), ("case7_T2_FLAIR", "FLAIR"), ("t2w", "T2"),
     ("suv", "PET"), ("fla", "FLAIR"), ("ct_registered_to_mr", "CT"), ("ct_pet", ""), ("brain", "")],
)  # fmt: skip
def test_modality_of_a_name(text, tag):
    assert modality_tag(text) == tag


def test_inputs_and_masks_of_names():
    assert input_for(shipped_card(PETCT), "SUV bw") == "PET"
    assert input_for(shipped_card(LUNG), "T1") is None
    hand = shipped_card("hand-bone-multiscale-cnn3d")
    assert [input_for(hand, text) for text in ("mr_t1", "MRI", "ct_registered_to_mr")] == ["MR", "MR", None]
    assert [is_mask(text) for text in ("ct_mask", "gtv", "tumour", "ct_tumour_crop", "ct")] == [
        True, True, True, False, False
    ]  # fmt: skip
