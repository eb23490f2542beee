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
    first, second = (stratum.row() for stratum in stratify(ROWS, "centre", "dice"))
    assert first == {"group": "CHUM", "cases": 2, "undefined": 0, "mean": 0.7, "median": 0.7, "iqr": 0.1}
    assert (second["cases"], second["undefined"], second["mean"]) == (1, 1, 0.5)
    (empty,) = stratify(ROWS[3:], "centre", "dice")
    assert empty.row() == {
        "group": "CHUS", "cases": 0, "undefined": 1, "mean": None, "median": None, "iqr": None
    }  # fmt: skip


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
    by_centre = ["--by", "centre", "--label", "1"]
    assert main(["analyse", "strata", str(tmp_path / "figures.csv"), *by_centre]) == 2
    assert "has no 'centre'" in capsys.readouterr().err


def test_several_labels_are_not_mixed(tmp_path, capsys):
    (tmp_path / "figures.csv").write_text("case,label,centre,dice\na,1,x,0.9\na,2,x,0.1\n")
    command = ["analyse", "--progress", "none", "strata", str(tmp_path / "figures.csv"), "--by", "centre"]
    assert main(command) == 2
    assert "--label" in capsys.readouterr().err
    assert main([*command, "--label", "2"]) == 0
    assert "0.1000" in capsys.readouterr().out


def test_thickness_and_size_are_measured_in_the_references(tmp_path, capsys):
    """Two boxes, 12 and 36 mm long in a slice, of slices 2 and 5 mm apart; a case without tumour."""
    folder = tmp_path / "references"
    folder.mkdir()
    for name, length, thickness in (("a", 12, 2.0), ("b", 36, 5.0), ("c", 0, 5.0)):
        array = np.zeros((4, 40, 40), np.uint8)
        array[1, 3, :length] = 1
        write_image(Image(array, Grid((40, 40, 4), (1.0, 1.0, thickness))), folder / f"{name}.nii.gz")
    (tmp_path / "figures.csv").write_text("case,label,dice\na,1,0.9\nb,1,0.7\nc,1,1\n")
    (tmp_path / "cases.csv").write_text(
        "case,reference\n" + "".join(f"{n},references/{n}.nii.gz\n" for n in "abc")
    )
    command = ["analyse", "--progress", "none", "strata", str(tmp_path / "figures.csv"), "--json"]
    for references in (folder, tmp_path / "cases.csv"):
        found = []
        for by in ("slice_thickness_mm", "diameter_mm"):
            assert main([*command, "--by", by, "--references", str(references)]) == 0
            rows = json.loads(capsys.readouterr().out)
            found.append({row["group"]: row["mean"] for row in rows})
        assert found[0] == {"slices < 2.5 mm": 0.9, "slices >= 2.5 mm": 0.85}
        assert found[1] == {"10-20 mm": 0.9, "30-40 mm": 0.7, "no tumour": 1.0}
    assert main([*command, "--by", "centre", "--references", str(folder)]) == 2
    assert "cannot be measured" in capsys.readouterr().err
    (folder / "c.nii.gz").unlink()
    assert main([*command, "--by", "diameter_mm", "--references", str(folder)]) == 2
    assert "'c' has no reference" in capsys.readouterr().err


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


def test_files_in_another_order_of_voxels_are_turned_alike(tmp_path):
    """The same mask stored from the left and from the right has no deviation; order: SegDL's arrays, LPS."""
    array = np.zeros((1, 4, 4), np.uint8)
    array[0, 1, 0] = 1
    folder = tmp_path / "labels"
    folder.mkdir()
    write_image(Image(array, Grid((4, 4, 1))), folder / "0.nrrd")
    flipped = Grid((4, 4, 1), origin=(3, 0, 0), direction=(-1, 0, 0, 0, 1, 0, 0, 0, 1))
    write_image(Image(np.ascontiguousarray(array[..., ::-1]), flipped), folder / "1.nrrd")
    assert main(["analyse", "masks", f"all={folder}", "--output", str(tmp_path), "--size", "4", "4"]) == 0
    with np.load(tmp_path / "masks.npz") as stored:
        assert np.array_equal(stored["all_mean"], array[0])
        assert (stored["all_std"] == 0).all()


def test_a_folder_without_labelmaps_is_named(tmp_path, capsys):
    assert main(["analyse", "masks", f"test={tmp_path}", "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert f"test: The folder {tmp_path} has no labelmaps." in error and ".nii.gz" in error
