"""Finished trainings beside the reports' figures."""

from __future__ import annotations

import csv
import json

import pytest
import torch
from SegDLEngine.models.writing import write_package
from SegDLEngine.networks.registry import build_network
from SegDLTrainingLib.command_line import main
from SegDLTrainingLib.recipes import load_recipe
from SegDLTrainingLib.report import report_rows, text_table
from tiny_model import tiny_card

DATA = {"source": "manifest", "path": "cases", "split": {"method": "hold-out", "ratio": [4, 1]}}
PARTS = {"training": 8, "validation": 2, "test": 3}


def figure(part, value, metric="dice", name="Tumour", cases=2):
    return {"metric": metric, "part": part, "name": name, "value": value, "cases": cases}


def _package(folder, recipe, **training):
    about = {"data": DATA, "cases": PARTS, "published": None, **training}
    card = tiny_card(training={"recipe": recipe, **about} if recipe else {"seed": 1})
    torch.manual_seed(0)
    network = build_network(card["network"]["name"], card["network"]["options"])
    write_package([network.state_dict()], card, folder, licence_text="test")
    return folder


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """Two rows of report 000, one of report 003, and a recipe of the user's."""
    folder = tmp_path_factory.mktemp("packages")
    names = ("000-table1-instance-norm", "000-table3-14-b2", "003-unet-scratch-40-10")
    published = {name: load_recipe(name).data["published"] for name in names}
    covid = [figure("train", 0.95), figure("validation", 0.8, cases=10), figure("test", 0.7, cases=20)]
    return [
        _package(folder / "own", "own", measured=[figure("validation", 0.4)]),
        _package(
            folder / "r14", names[1], published=published[names[1]], measured=[figure("validation", 0.6)]
        ),
        _package(
            folder / "r24", names[0], published=published[names[0]], measured=[figure("validation", 0.7)]
        ),
        _package(folder / "covid", names[2], published=published[names[2]], measured=covid),
    ]


def test_measured_and_published_stand_side_by_side(packages):
    rows = report_rows(packages, missing=False)
    assert [(row["table"], row["part"], row["published"], row["measured"], row["cases"]) for row in rows] == [
        ("report 000, table 1", "validation", 0.729, 0.7, 2),
        ("report 000, table 3", "validation", 0.718, 0.6, 2),
        ("report 000, table 3", "validation", 0.729, 0.7, 2),
        ("report 003, table 5.1", "train", 0.9705, 0.95, 2),
        ("report 003, table 5.1", "validation", 0.8119, 0.8, 10),
        ("report 003, table 5.1", "test", 0.8012, 0.7, 20),
        ("no table of the reports", "validation", None, 0.4, 2),
    ]
    assert rows[0]["division"] == "hold-out 4:1, 8/2/3" and rows[0]["run"].endswith("r24")
    text = text_table(rows)
    assert "0.729" in text and "0.700" in text and "own" in text
    assert "measured, dice: hard Dice of whole cases" in text
    assert "published, report 003, table 5.1: Dice of infection" in text


def test_rows_of_the_same_tables_that_are_not_trained_are_named(packages):
    rows = report_rows(packages[1:2])
    assert {row["table"] for row in rows} == {"report 000, table 3"}
    assert sorted(row["published"] for row in rows) == [0.639, 0.702, 0.708, 0.718, 0.729, 0.729]
    assert [row["run"] != "" for row in rows if row["published"] == 0.718] == [True]
    assert text_table(rows).count("  not trained") == 5


def test_what_was_measured_by_another_definition_does_not_stand_beside_the_figure(tmp_path):
    published = load_recipe("004-res-unet2d").data["published"]
    own = [figure("test", 0.9), figure("test", 0.7, "soft_dice_batch")]
    rows = report_rows([_package(tmp_path / "one", "004-res-unet2d", published=published, measured=own)])
    assert [(row["part"], row["published"], row["measured"]) for row in rows] == [
        ("train", 0.889, None), ("validation", 0.889, None), ("test", 0.785, 0.7),
    ]  # fmt: skip
    assert {row["metric"] for row in rows} == {"soft_dice_batch"}


def test_a_package_of_an_earlier_version_shows_its_validation(tmp_path):
    mean = {"Tumour": {"cases": 5, "dice_mean": 0.7012}}
    (row,) = report_rows([_package(tmp_path / "old", "old", validation=mean)])
    assert (row["row"], row["part"], row["measured"], row["cases"]) == ("old", "validation", 0.7012, 5)


def test_the_command_prints_and_writes_the_tables(packages, tmp_path, capsys):
    names = [str(package) for package in packages]
    table, text = tmp_path / "table.csv", tmp_path / "table.md"
    assert main(["report", *names, "--json", "--csv", str(table), "--markdown", str(text)]) == 0
    printed = json.loads(capsys.readouterr().out)
    with table.open() as file:
        assert [row["published"] for row in csv.DictReader(file)] == [
            "" if row["published"] is None else str(row["published"]) for row in printed
        ]
    lines = text.read_text().splitlines()
    assert "## Report 000, table 1" in lines
    assert any(
        line.startswith("| InstanceNorm3d, 24 filters, batch 1") and "| 0.729 | 0.700 |" in line
        for line in lines
    )


def test_a_package_without_a_recipe_is_named(tmp_path, capsys):
    package = _package(tmp_path / "strange", None)
    assert main(["report", str(package)]) == 2
    assert "by which recipe" in capsys.readouterr().err
