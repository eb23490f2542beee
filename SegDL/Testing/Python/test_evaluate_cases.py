"""segdl evaluate: soft Dice, many cases, tables, and what it refuses."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from SegDLEngine.command_line.main import main
from SegDLEngine.errors import InputError
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.images.writing import write_image
from SegDLEngine.measurement.cohort import complete, pairs_of_folders, read_pairs, summary
from SegDLEngine.measurement.evaluation import absent_row, evaluate

GRID = Grid((4, 1, 1), (1.0, 1.0, 1.0))


def image(*values, kind=np.uint8):
    return Image(np.array([[values]], kind), GRID)


@pytest.fixture
def folders(tmp_path):
    """Two cases: 'first' has labels 1 and 2, 'second' label 1 only, predicted in part."""
    for name, files in {
        "truth": {"first.nrrd": image(1, 1, 2, 0), "second.nii.gz": image(1, 1, 0, 0)},
        "found": {"first.nii.gz": image(1, 1, 2, 0), "second.nrrd": image(1, 0, 0, 0)},
    }.items():
        (tmp_path / name).mkdir()
        for file, labels in files.items():
            write_image(labels, tmp_path / name / file)
    return tmp_path


def folder_arguments(folders, *more):
    return ["evaluate", "--reference", f"{folders / 'truth'}", "--prediction", f"{folders / 'found'}", *more]


def error_of(capsys, *arguments):
    assert main(["evaluate", *map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def test_soft_dice_of_each_label_and_of_the_joined_foreground():
    reference, prediction = image(1, 1, 2, 0), image(1, 1, 0, 0)
    volumes = {1: image(0.5, 1, 0, 0, kind=np.float32), 2: image(0, 0, 0.25, 0.25, kind=np.float32)}
    one, two = evaluate(reference, prediction, probabilities=volumes)
    assert one["soft_dice"] == pytest.approx(2 * 1.5 / (2 + 1.5))
    assert two["soft_dice"] == pytest.approx(2 * 0.25 / (1 + 0.5))
    (joined,) = evaluate(reference, prediction, reference_labels=[1, 2], probabilities={None: volumes[1]})
    assert joined["soft_dice"] == pytest.approx(2 * 1.5 / (3 + 1.5))
    (alone,) = evaluate(prediction, prediction, probabilities={None: volumes[1]})
    assert (alone["label"], alone["soft_dice"]) == (1, pytest.approx(2 * 1.5 / (2 + 1.5)))


def test_a_probability_volume_must_say_its_label_and_hold_probabilities():
    reference, half = image(1, 1, 2, 0), image(0.5, 0.5, 0, 0, kind=np.float32)
    with pytest.raises(InputError, match="does not say its label"):
        evaluate(reference, reference, probabilities={None: half})
    with pytest.raises(InputError, match="values from 0 to 300"):
        evaluate(reference, reference, probabilities={1: image(0, 300, 0, 0, kind=np.float32)})


def test_an_absent_label_counts_as_rightly_not_predicted():
    row = absent_row(2)
    assert (row["label"], row["dice"], row["boundary_dice"], row["hd95_mm"]) == (2, 1.0, 1.0, 0.0)
    assert (row["reference_ml"], row["false_lesions"]) == (0.0, 0)
    rows = complete({"a": [absent_row(1), absent_row(2)], "b": [absent_row(2)]})
    assert [(entry["case"], entry["label"]) for entry in rows] == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]


def test_summary_by_hand():
    reference = [image(1, 1, 0, 0), image(1, 0, 1, 0), image(0, 0, 0, 0)]
    prediction = [image(1, 0, 0, 0), image(1, 0, 0, 1), image(0, 0, 0, 1)]
    cases = {
        str(number): evaluate(*pair) for number, pair in enumerate(zip(reference, prediction, strict=True))
    }
    (row,) = summary(complete(cases))
    dice = [2 / 3, 0.5, 0.0]
    assert (row["label"], row["cases"]) == (1, 3)
    assert row["dice"]["mean"] == pytest.approx(np.mean(dice))
    assert row["dice"]["sd"] == pytest.approx(np.std(dice, ddof=1))
    assert row["dice"]["median"] == 0.5
    assert (row["hd95_mm"]["cases"], row["soft_dice"]["mean"]) == (2, None)
    assert (row["reference_lesions"], row["detected_lesions"], row["missed_lesions"]) == (3, 2, 1)
    assert row["lesion_sensitivity"] == pytest.approx(2 / 3)
    assert row["false_lesions_per_case"] == pytest.approx(2 / 3)


def test_folders_are_compared_by_name_and_written_as_table(folders, capsys):
    output = folders / "figures.csv"
    assert main(folder_arguments(folders, "--json", "--output", str(output))) == 0
    table = json.loads(capsys.readouterr().out)
    assert [(row["case"], row["label"]) for row in table["cases"]] == [
        ("first", 1),
        ("first", 2),
        ("second", 1),
        ("second", 2),
    ]
    one, two = table["summary"]
    assert one["dice"]["mean"] == pytest.approx((1 + 2 / 3) / 2)
    assert two["dice"] == {"mean": 1.0, "sd": 0.0, "median": 1.0, "cases": 2}
    with output.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["dice"]) for row in rows] == pytest.approx([1, 1, 2 / 3, 1])
    assert main(folder_arguments(folders)) == 0
    assert "0.833 ±0.236" in capsys.readouterr().out


def test_a_table_of_cases_names_files_and_probabilities(folders, capsys):
    write_image(image(0.5, 0.5, 0, 0, kind=np.float32), folders / "p.nrrd")
    (folders / "cases.csv").write_text(
        "case,reference,prediction,probability\nx,truth/second.nii.gz,found/second.nrrd,p.nrrd\n"
    )
    assert main(["evaluate", "--cases", str(folders / "cases.csv"), "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert table["cases"][0]["soft_dice"] == pytest.approx(2 * 1 / (2 + 1))
    pair = read_pairs(folders / "cases.csv")[0]
    assert (pair.case, pair.reference.name) == ("x", "second.nii.gz")


def test_a_reference_without_prediction_is_not_passed_over(folders, capsys):
    told = []
    write_image(image(1, 0, 0, 0), folders / "found" / "third.nrrd")
    pairs = pairs_of_folders(folders / "truth", folders / "found", lambda code, text: told.append(text))
    assert [pair.case for pair in pairs] == ["first", "second"]
    assert "third" in told[0]
    (folders / "found" / "second.nrrd").unlink()
    assert "no prediction for 1 of 2 references: second" in error_of(capsys, *folder_arguments(folders)[1:])
    write_image(image(1, 0, 0, 0), folders / "truth" / "first.nii.gz")
    assert "two segmentations 'first'" in error_of(capsys, *folder_arguments(folders)[1:])


def test_wrong_usage_is_told_in_one_line(folders, capsys):
    truth, cases = folders / "truth", folders / "cases.csv"
    cases.write_text("case,reference\na,b\n")
    assert "Nothing to compare" in error_of(capsys)
    assert "Nothing to compare" in error_of(capsys, "--reference", truth)
    assert "is a folder" in error_of(capsys, "--reference", truth, "--prediction", truth / "first.nrrd")
    assert "no column 'prediction'" in error_of(capsys, "--cases", cases)
    cases.write_text("case,reference,prediction\n\na,truth/first.nrrd,\n")
    assert "Row 3" in error_of(capsys, "--cases", cases)
    cases.write_text("case,reference,prediction\na,b,c,d\n")
    assert "more cells" in error_of(capsys, "--cases", cases)
    cases.write_text("case,reference,prediction\na,truth/first.nrrd,found/none.nrrd\n")
    assert "Case 'a'" in error_of(capsys, "--cases", cases)
    assert "Use .csv or .json" in error_of(capsys, "--cases", cases, "--output", folders / "table.txt")
    assert "belongs to two files" in error_of(capsys, "--cases", cases, "--probability", "p.nrrd")
    assert cases.read_text().startswith("case,")
