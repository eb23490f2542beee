"""Finished trainings beside the reports' figures."""

from __future__ import annotations

import csv
import json

import pytest
import torch
from SegDLEngine.models.writing import write_package
from SegDLEngine.networks.registry import build_network
from SegDLTrainingLib.command_line import main
from SegDLTrainingLib.report import report_rows, text_table
from tiny_model import tiny_card


def _package(folder, training):
    card = tiny_card(training=training)
    torch.manual_seed(0)
    network = build_network(card["network"]["name"], card["network"]["options"])
    write_package([network.state_dict()], card, folder, licence_text="test")
    return folder


PUBLISHED = {
    "table": "report 000, table 1",
    "row": "InstanceNorm3d",
    "column": "validation",
    "metric": "dice",
    "value": 0.729,
    "definition": "hard Dice",
}


@pytest.fixture
def packages(tmp_path):
    measured = {"Tumour": {"cases": 5, "dice_mean": 0.7012, "dice_median": 0.75}}
    return [
        _package(tmp_path / "own", {"recipe": "own", "validation": measured}),
        _package(tmp_path / "t1", {"recipe": "a", "validation": measured, "published": PUBLISHED}),
        _package(
            tmp_path / "t0",
            {"recipe": "b", "published": {**PUBLISHED, "row": "A", "value": {"train": 0.9, "test": 0.8}}},
        ),
    ]


def test_measured_and_published_stand_side_by_side(packages):
    rows = report_rows(packages)
    assert [(row["row"], row["column"], row["published"], row["measured"]) for row in rows] == [
        ("own", "", None, 0.7012),
        ("A", "validation", None, None),
        ("A", "train", 0.9, None),
        ("A", "test", 0.8, None),
        ("InstanceNorm3d", "validation", 0.729, 0.7012),
    ]
    text = text_table(rows)
    assert "0.7290" in text and "0.7012" in text
    assert "measured: hard Dice" in text and "table 1: hard Dice" in text


def test_the_command_prints_and_writes_the_table(packages, tmp_path, capsys):
    names = [str(package) for package in packages]
    assert main(["report", *names, "--json", "--csv", str(tmp_path / "table.csv")]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 5
    with (tmp_path / "table.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 5


def test_a_package_without_a_recipe_is_named(tmp_path, capsys):
    package = _package(tmp_path / "strange", {"seed": 1})
    assert main(["report", str(package)]) == 2
    assert "by which recipe" in capsys.readouterr().err
