"""Manifests as spreadsheets and other systems write them."""

from __future__ import annotations

import json
import unicodedata

import numpy as np
import pytest
from data_sets import box_labels, put, shipped_card, values
from SegDLEngine.errors import InputError
from SegDLTrainingLib.data.cases import CaseEntry, CaseList
from SegDLTrainingLib.data.layouts import find_cases
from SegDLTrainingLib.data.loading import load_case
from SegDLTrainingLib.data.manifest import write_manifest
from SegDLTrainingLib.data.splits import Split, Splits, read_splits, write_splits

LUNG = "lung-tumor-unet2d"
TABLE = 'case;CT;labels\r\n"Jürgen 1";"ä b/ct 1.nrrd";"ä b/labels.nrrd"\r\n'
SPELLINGS = {
    "windows": TABLE.encode(),
    "byte order mark": b"\xef\xbb\xbf" + TABLE.encode(),
    "tabs": TABLE.replace(";", "\t").encode(),
    "blank lines": ("\r\n" + TABLE.replace("\r\n", "\r\n\r\n")).encode(),
    "delimiter said": ("sep=;\r\n" + TABLE).encode(),
    "empty columns": TABLE.replace("\r\n", ";;\r\n").encode(),
    "paths of Windows": TABLE.replace("/", "\\").encode(),
}


@pytest.fixture
def folder(tmp_path):
    put(values(1), tmp_path, "ä b", "ct 1.nrrd")
    put(box_labels(), tmp_path, "ä b", "labels.nrrd")
    return tmp_path


@pytest.mark.parametrize("spelling", list(SPELLINGS))
def test_tables_as_spreadsheets_write_them(folder, spelling):
    path = folder / "cases.csv"
    path.write_bytes(SPELLINGS[spelling])
    (case,) = find_cases(path, shipped_card(LUNG)).cases
    assert case.name == "Jürgen 1"
    prepared = load_case(case, shipped_card(LUNG))
    assert np.array_equal(prepared.images["CT"].array, values(1).array)
    assert np.array_equal(prepared.labels.array, box_labels().array)


def test_rows_are_counted_as_the_editor_counts_them(folder):
    path = folder / "cases.csv"
    path.write_text("case,CT\n\n\na,x\n\n,y\n")
    with pytest.raises(InputError, match=r"Row 6 of .* has no name"):
        find_cases(path, shipped_card(LUNG))


def test_columns_that_say_the_same_are_refused(folder):
    path = folder / "cases.csv"
    path.write_text("case,CT,CT,labels\na,x,y,z\n")
    with pytest.raises(InputError, match="column 'CT' twice"):
        find_cases(path, shipped_card(LUNG))
    path.write_text("case,CT,labels,reference\na,x,y,z\n")
    with pytest.raises(InputError, match="columns that say the same: labels, reference"):
        find_cases(path, shipped_card(LUNG))


def test_an_empty_path_is_no_path(folder):
    path = folder / "cases.json"

    def read(value):
        rows = [{"name": "a", "inputs": {"CT": value}, "labels": None}]
        path.write_text(json.dumps({"schema": "segdl-cases-1", "cases": rows}))
        return find_cases(path, shipped_card(LUNG)).cases[0]

    assert read("").inputs == {} == read(None).inputs
    with pytest.raises(InputError, match=r"cases\[0\] of .*: 5 is no path"):
        read(5)


def test_names_are_spelled_in_one_way_on_every_system(folder):
    """A folder that a Mac has copied spells 'ü' as 'u' and a mark; splits must hold for both."""
    apart = unicodedata.normalize("NFD", "Jürgen")
    row = CaseEntry(apart, apart, {"CT": str(folder / "ä b" / "ct 1.nrrd")})
    found = find_cases(write_manifest(CaseList("", [row]), folder / "cases.json"), shipped_card(LUNG))
    assert found.cases[0].name == found.cases[0].patient == "Jürgen" != apart
    splits = Splits("counts", 0, {}, [Split("split", [apart], [])])
    again = read_splits(write_splits(splits, folder / "splits.json"))
    assert again[0].of(found.cases, "training") == found.cases
