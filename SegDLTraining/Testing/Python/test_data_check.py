"""The check before training and the manifest, through the functions and ``segdl-train data``."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from data_sets import GRID, box_labels, card_with, put, shipped_card, values
from SegDLEngine.errors import InputError
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLTrainingLib.command_line import main
from SegDLTrainingLib.data import check as check_module
from SegDLTrainingLib.data.check import check_cases
from SegDLTrainingLib.data.layouts import find_cases
from SegDLTrainingLib.data.loading import load_case
from SegDLTrainingLib.data.manifest import write_manifest
from SegDLTrainingLib.data.splits import Split, Splits

PETCT = "head-neck-tumor-se-resunet3d"


@pytest.fixture
def folder(tmp_path):
    """Four good patients."""
    for number, name in enumerate(("anna", "bert", "cora", "dirk")):
        put(values(number), tmp_path, name, "ct.nrrd")
        put(values(10 + number, kind="PT"), tmp_path, name, "pet.nrrd")
        put(box_labels(), tmp_path, name, "labels.nrrd")
    return tmp_path


def check(folder, splits=None):
    card = shipped_card(PETCT)
    report = check_cases(find_cases(folder, card), card, splits)
    return report, {(problem.severity, problem.code, problem.case) for problem in report.problems}


def test_good_data(folder):
    report, found = check(folder)
    assert found == set() and not report.errors
    assert [row["name"] for row in report.rows] == ["anna", "bert", "cora", "dirk"]
    assert report.rows[0]["labels_ml"] == {"Head and neck tumour": pytest.approx(18 * 6.75 / 1000, abs=1e-3)}


def test_every_fault_is_told_by_name(folder):
    (folder / "anna" / "pet.nrrd").unlink()
    (folder / "bert" / "ct.nrrd").write_bytes((folder / "bert" / "ct.nrrd").read_bytes()[:300])
    put(box_labels(value=7), folder / "cora" / "labels.nrrd")
    put(Image(box_labels().array, Grid(GRID.size)), folder / "dirk" / "labels.nrrd")
    report, found = check(folder)
    errors = {(code, case) for severity, code, case in found if severity == "error"}
    assert errors >= {("missing-input", "anna"), ("label-values", "cora"), ("geometry", "dirk")}
    assert any(case == "bert" for _, case in errors) and ("no-cases", "") in errors
    assert report.rows == []
    text = next(problem.text for problem in report.problems if problem.case == "bert")
    assert "ct.nrrd" in text


@pytest.mark.skipif(os.name != "posix", reason="links need rights on this system")
def test_a_link_to_nowhere_is_a_fault_of_its_case(folder):
    (folder / "anna" / "pet.nrrd").unlink()
    (folder / "anna" / "pet.nrrd").symlink_to("gone.nrrd")
    (folder / "bert" / "ct.nrrd").rename(folder / "elsewhere.nrrd")
    (folder / "bert" / "ct.nrrd").symlink_to(folder / "elsewhere.nrrd")
    report, found = check(folder)
    assert {case for severity, _, case in found if severity == "error"} == {"anna"}
    assert len(report.rows) == 3


def test_an_ambiguous_case_is_told_once(folder):
    put(box_labels(), folder, "anna", "mask.nrrd")
    report, found = check(folder)
    assert found == {("error", "ambiguous", "anna")} and len(report.rows) == 3


def test_inputs_apart_empty_labels_and_copies(folder):
    away = Grid(GRID.size, GRID.spacing, (900.0, 0.0, 0.0))
    put(Image(values(3, kind="PT").array, away), folder / "anna" / "pet.nrrd")
    put(Image(np.zeros(GRID.shape, np.uint8), GRID), folder / "bert" / "labels.nrrd")
    # The same scan in another format with its origin rounded.
    scan = values(3)
    put(Image(scan.array, Grid(GRID.size, GRID.spacing, (-9.1, 4.0, -30.0))), folder / "erik" / "ct.nii.gz")
    put(values(14, kind="PT"), folder, "erik", "pet.nrrd")
    put(
        Image(box_labels().array, Grid(GRID.size, GRID.spacing, (-9.1, 4.0, -30.0))),
        folder,
        "erik",
        "labels.nrrd",
    )
    split = Split("fold-1", ["anna", "bert", "erik"], ["cora", "dirk"])
    _, found = check(folder, Splits("k-fold", 0, {}, [split]))
    assert found == {
        ("error", "apart", "anna"),
        ("warning", "empty-labels", "bert"),
        ("warning", "duplicate", "dirk"),
        ("error", "split-duplicate", "dirk"),
    }


def test_one_image_or_labels_for_two_is_told(folder):
    """As a line of a table that was copied brings it about."""
    rows = ["case,CT,PET,labels"]
    for case, ct, labels in (("a", "anna", "anna"), ("b", "bert", "anna"), ("c", "cora", "cora")):
        pet = "anna" if case == "c" else ct
        rows.append(f"{case},{ct}/ct.nrrd,{pet}/pet.nrrd,{labels}/labels.nrrd")
    report, found = check(manifest(folder, "\n".join(rows)))
    assert found == {("warning", "duplicate", "a")} and len(report.problems) == 2
    texts = [problem.text for problem in report.problems]
    assert texts[0] == "The same voxels of 'PET' are in a, c."
    assert texts[1].endswith("labels.nrrd' has the labels of a, b.")


def test_two_inputs_with_the_same_voxels_are_told(tmp_path):
    for name in ("t1", "t1c", "t2", "flair"):
        put(values(name == "t2", kind="MR"), tmp_path, "p1", f"{name}.nrrd")
    put(box_labels(), tmp_path, "p1", "labels.nrrd")
    card = shipped_card("brain-tumor-multiscale-cnn3d")
    problems = check_cases(find_cases(tmp_path, card), card).problems
    told = [problem for problem in problems if problem.code == "duplicate"]
    assert [problem.text for problem in told] == ["The inputs FLAIR, T1, T1c have the same voxels."]


def test_grids_that_differ_are_told_where_the_card_keeps_them(folder):
    finer = Grid((24, 20, 8), (0.75, 0.75, 3.0), (-9.375, 3.625, -30.0))
    put(values(10, finer, kind="PT"), folder / "anna" / "pet.nrrd")
    card = card_with(PETCT, preprocessing=[{"step": "zscore"}])
    problems = check_cases(find_cases(folder, card), card).problems
    assert [(problem.severity, problem.code, problem.case) for problem in problems] == [
        ("error", "grids", "anna")
    ]
    assert "'PET' is not on the grid of 'CT'" in problems[0].text
    assert not check(folder)[1]


def test_a_failure_that_nobody_has_foreseen_names_its_case(folder, monkeypatch):
    def load(case, card, reporter):
        if case.name == "bert":
            raise ZeroDivisionError("division by zero")
        return load_case(case, card, reporter)

    monkeypatch.setattr(check_module, "load_case", load)
    report, found = check(folder)
    assert found == {("error", "unreadable", "bert")} and len(report.rows) == 3


def test_no_label_anywhere_prevents_training(folder):
    for name in ("anna", "bert", "cora", "dirk"):
        put(Image(np.zeros(GRID.shape, np.uint8), GRID), folder / name / "labels.nrrd")
    assert ("error", "empty-labels", "") in check(folder)[1]


def manifest(folder, text, name="cases.csv"):
    path = folder / name
    path.write_text(text)
    return path


def test_manifest_and_a_patient_in_two_parts(folder):
    rows = ["case;patient;centre;CT;PET;labels"]
    for case, patient in (("a1", "a"), ("a2", "a"), ("b", "b")):
        source = {"a1": "anna", "a2": "bert", "b": "cora"}[case]
        rows.append(f"{case};{patient};X;{source}/ct.nrrd;{source}/pet.nrrd;{source}/labels.nrrd")
    path = manifest(folder, "\n".join(rows))
    found = find_cases(path, shipped_card(PETCT))
    assert [(case.name, case.patient, case.centre) for case in found.cases] == [
        ("a1", "a", "X"), ("a2", "a", "X"), ("b", "b", "X")
    ]  # fmt: skip
    split = Split("split", ["a1"], ["a2", "gone"])
    _, problems = check(path, Splits("counts", 0, {}, [split]))
    assert problems == {
        ("error", "split-patient", "a"),
        ("error", "split-case", "gone"),
        ("warning", "split-left-out", ""),
    }
    again = find_cases(write_manifest(found, folder / "cases.json"), shipped_card(PETCT))
    assert again == found
    assert json.loads((folder / "cases.json").read_text())["cases"][0]["inputs"]["CT"] == "anna/ct.nrrd"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case,CT,MRT\na,x,y\n", "unknown column 'MRT'"),
        ("case,CT\n,x\n", r"Row 2 of .* has no name"),
        ("case,CT\na,x,y,z\n", "Row 2 of .* has more cells"),
        ("case,CT\na,x\na,y\n", "Row 3 of .*: the name 'a' is that of Row 2 too"),
        ("case,CT\n", "has no cases"),
    ],
)
def test_faults_of_a_csv(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        find_cases(manifest(tmp_path, text), shipped_card(PETCT))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"name": "a", "inputs": {"MR": "x"}}, r"cases\[0\].* has no input 'MR'"),
        ({"name": "a", "inputs": {}, "lables": "x"}, "unknown field 'lables'"),
        ({"name": "a", "inputs": {}, "region": [1, 0, 0, 1, 0, 1]}, "'region' is not r_min"),
        ({"name": "a", "inputs": {}, "label_map": {"GTV": "one"}}, "'label_map' is no table"),
    ],
)
def test_faults_of_a_json(tmp_path, row, message):
    document = {"schema": "segdl-cases-1", "cases": [row]}
    with pytest.raises(InputError, match=message):
        find_cases(manifest(tmp_path, json.dumps(document), "cases.json"), shipped_card(PETCT))


def test_command_line(folder, capsys):
    common = ["--model", PETCT, "--progress", "none"]
    assert main(["data", "list", str(folder), *common, "--write", str(folder / "cases.json")]) == 0
    shown = capsys.readouterr().out
    assert "anna" in shown and "CT, PET" in shown
    splits = folder / "splits.json"
    options = ["--method", "hold-out", "--ratio", "3:1", "--seed", "4", "--output", str(splits)]
    assert main(["data", "split", str(folder / "cases.json"), *common, *options]) == 0
    assert "split  3         1           0" in capsys.readouterr().out
    report = folder / "report.json"
    check = ["data", "check", str(folder / "cases.json"), *common, "--splits", str(splits)]
    assert main([*check, "--json", "--report", str(report), "--workers", "2"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(report.read_text())
    (folder / "bert" / "ct.nrrd").unlink()
    assert main([*check, "--workers", "1"]) == 2
    captured = capsys.readouterr()
    assert (
        "error: bert: " in captured.out and "prevent training: 1; cases that can be read: 3." in captured.err
    )
    wrong = ["--method", "k-fold", "--ratio", "3:1", "--output", str(splits)]
    assert main(["data", "split", str(folder), *common, *wrong]) == 2
    assert "k-fold does not take these options" in capsys.readouterr().err
    assert main(["data", "list", str(folder), *common, "--map", "GTV"]) == 2
