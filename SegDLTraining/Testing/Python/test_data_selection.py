"""From a recipe's data section to the cases of its parts."""

from __future__ import annotations

import os

import numpy as np
import pytest
from data_sets import box_labels, put, shipped_card, values
from dicom_labels import write_rtstruct
from dicom_series import ct_values, write_series
from SegDLEngine.errors import InputError
from SegDLTrainingLib.data.layouts import find_cases
from SegDLTrainingLib.data.selection import fingerprint, load_entry, select_cases
from SegDLTrainingLib.data.splits import hold_out, write_splits

CARD = shipped_card("lung-tumor-unet2d")


@pytest.fixture
def folder(tmp_path):
    for number in range(5):
        put(values(number), tmp_path, "data", f"p{number}", "ct.nrrd")
        put(box_labels(), tmp_path, "data", f"p{number}", "labels.nrrd")
    return tmp_path / "data"


def test_parts_of_the_default_and_of_a_file(folder, tmp_path):
    parts = select_cases({"path": str(folder)}, CARD)
    assert [len(part) for part in parts.values()] == [4, 1, 0]
    splits = hold_out(find_cases(folder, CARD).cases, 9, ratio=(2, 2, 1))
    path = write_splits(splits, tmp_path / "splits.json")
    parts = select_cases({"path": str(folder), "split": str(path)}, CARD)
    assert {part: [case.name for case in cases] for part, cases in parts.items()} == splits[0].parts()
    fold = {"path": str(folder), "split": {"method": "k-fold", "folds": 5}, "fold": "fold-3"}
    assert [len(part) for part in select_cases(fold, CARD).values()] == [4, 1, 0]
    prepared = load_entry((parts["training"][0], CARD.data))
    assert np.array_equal(prepared.labels.array, box_labels().array)


def test_what_prevents_training_is_said(folder):
    with pytest.raises(InputError, match="does not say where the data are"):
        select_cases({}, CARD)
    with pytest.raises(InputError, match="no split 'thirds'"):
        select_cases({"path": str(folder), "split": {"method": "thirds"}}, CARD)
    with pytest.raises(InputError, match="does not take these options"):
        select_cases({"path": str(folder), "split": {"method": "k-fold", "ratio": [1, 1]}}, CARD)
    put(box_labels(), folder, "p2", "seg.nrrd")
    with pytest.raises(InputError, match=r"Case 'p2': labels\.nrrd, seg\.nrrd: each could be the labels"):
        select_cases({"path": str(folder)}, CARD)


def test_fingerprint_changes_with_every_file(folder, tmp_path):
    first, second = find_cases(folder, CARD).cases[:2]
    before = fingerprint(first)
    assert before == fingerprint(find_cases(folder, CARD).cases[0]) != fingerprint(second)
    os.utime(first.labels, ns=(1, 1))
    assert fingerprint(first) != before
    slices = write_series(tmp_path / "dicom" / "p1" / "ct", ct_values())
    write_rtstruct(tmp_path / "dicom" / "p1" / "rs.dcm", {"GTV": []})
    (case,) = find_cases(tmp_path / "dicom", CARD).cases
    before = fingerprint(case)
    os.utime(slices[3], ns=(1, 1))
    assert fingerprint(case) != before
    slices[3].unlink()
    assert fingerprint(case) != before
