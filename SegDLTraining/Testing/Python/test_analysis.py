"""Results by group, and mean masks: hand examples and the commands."""

from __future__ import annotations

import json

import numpy as np
import pytest
from SegDLEngine import Image, write_image
from SegDLEngine.errors import InputError
from SegDLEngine.images.grid import Grid
from SegDLTrainingLib.analysis.masks import mask_statistics
from SegDLTrainingLib.analysis.strata import size_group, stratify, thickness_group
from SegDLTrainingLib.command_line import main

ROWS = [
    {"case": "a", "centre": "CHUM", "dice": 0.8},
    {"case": "b", "centre": "CHUM", "dice": 0.6},
    {"case": "c", "centre": "CHUS", "dice": 0.5},
    {"case": "d", "centre": "CHUS", "dice": None},
]


def test_figures_are_gathered_by_centre():
    first, second = stratify(ROWS, "centre", "dice")
    assert first.row() == {"group": "CHUM", "cases": 2, "mean": 0.7, "median": 0.7, "iqr": 0.1}
    assert (second.count, second.mean) == (1, 0.5)
    assert [stratum.group for stratum in stratify(ROWS, "centre", "dice", ["CHUS"])] == ["CHUS", "CHUM"]


def test_a_case_without_the_property_is_named():
    with pytest.raises(InputError, match="'e' has no 'centre'"):
        stratify([*ROWS, {"case": "e", "dice": 0.1}], "centre", "dice")


def test_groups_of_thickness_and_size():
    assert [thickness_group(value) for value in (1.0, 2.49, 2.5, 5.0)] == [
        "slices < 2.5 mm",
        "slices < 2.5 mm",
        "slices >= 2.5 mm",
        "slices >= 2.5 mm",
    ]
    assert [size_group(value) for value in (0, 10, 10.1, 69, 71)] == [
        "no tumour",
        "0-10 mm",
        "10-20 mm",
        "50-70 mm",
        "> 70 mm",
    ]


def test_a_constant_set_has_no_deviation():
    mask = np.zeros((8, 8), bool)
    mask[2:4] = True
    found = mask_statistics([mask] * 5, (8, 8))
    assert np.array_equal(found.mean, mask.astype(float))
    assert (found.std == 0).all()


def test_mean_and_deviation_by_hand():
    found = mask_statistics([np.array([[1, 0]]), np.array([[1, 1]]), np.array([[0, 0]])], (2, 1))
    assert found.count == 3
    assert found.mean == pytest.approx(np.array([[2 / 3, 1 / 3]]))
    assert found.std == pytest.approx(np.full((1, 2), np.sqrt(2) / 3))


def test_slices_count_singly_and_are_averaged_down():
    volume = np.zeros((2, 4, 4), np.uint8)
    volume[0, :2, :3] = 3
    found = mask_statistics([volume], (2, 2))
    assert found.count == 2
    assert found.mean == pytest.approx(np.array([[0.5, 0.25], [0, 0]]))
    with pytest.raises(InputError, match="no masks"):
        mask_statistics([])


def test_the_command_gathers_an_evaluation_by_slice_thickness(tmp_path, capsys):
    (tmp_path / "figures.csv").write_text("case,label,dice\na,1,0.9\nb,1,0.7\nb,2,0.1\nc,1,\n")
    (tmp_path / "cases.csv").write_text("case,slice_thickness_mm\na,1\nb,3\nc,3\n")
    arguments = ["--by", "slice_thickness_mm", "--attributes", str(tmp_path / "cases.csv"), "--label", "1"]
    command = ["analyse", "--progress", "none", "strata", str(tmp_path / "figures.csv"), *arguments]
    assert main([*command, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["group"], row["cases"], row["mean"]) for row in rows] == [
        ("slices < 2.5 mm", 1, 0.9),
        ("slices >= 2.5 mm", 1, 0.7),
    ]
    assert main(["analyse", "strata", str(tmp_path / "figures.csv"), "--by", "centre"]) == 2
    assert "has no 'centre'" in capsys.readouterr().err


def test_the_command_writes_the_mean_mask(tmp_path):
    folder = tmp_path / "labels"
    folder.mkdir()
    for number in range(2):
        array = np.full((1, 4, 4), number, np.uint8)
        write_image(Image(array, Grid((4, 4, 1))), folder / f"{number}.nrrd")
    output = tmp_path / "out"
    assert main(["analyse", "masks", f"training={folder}", "--output", str(output), "--size", "4", "4"]) == 0
    with np.load(output / "masks.npz") as stored:
        assert (stored["training_mean"] == 0.5).all()
        assert (stored["training_std"] == 0.5).all()
