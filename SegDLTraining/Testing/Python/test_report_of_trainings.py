"""The reports' table of three trainings that were run: one for each of three rows, one of them stopped."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from SegDLEngine.inference.predict import predict
from SegDLEngine.inference.runtime import choose_runtime
from SegDLEngine.models.catalogue import load_model
from SegDLEngine.protocol import Reporter
from SegDLTrainingLib.command_line import main
from SegDLTrainingLib.places import CURVE_FILE
from SegDLTrainingLib.progress import StopRequests
from SegDLTrainingLib.recipes import load_recipe
from tiny_training import balls, smallest_recipe, write_job

TABLES = ("report 000, table 1", "no table of the reports")
ROWS = ("000-table1-batch-norm", "000-table1-instance-norm", "own")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """Packages of trainings on three balls, validated on two, with what the recipes of the reports say."""
    before = torch.get_num_threads()
    folder = tmp_path_factory.mktemp("runs")
    recipe_file, manifest = write_job(
        folder,
        smallest_recipe(
            training={"epochs": 2, "steps_per_epoch": 20}, schedule={"name": "constant", "start": 0.03}
        ),
    )
    row = {"name": "all", "training": ["case0", "case1", "case2"], "validation": ["case3", "case4"]}
    splits = folder / "splits.json"
    splits.write_text(json.dumps({"schema": "segdl-splits-1", "splits": [row]}))
    outputs = {}
    for number, name in enumerate(ROWS):
        data = json.loads(recipe_file.read_text())
        data.update(
            id=name, seed=number, published=None if name == "own" else load_recipe(name).data["published"]
        )
        path = folder / f"{name}.json"
        path.write_text(json.dumps(data))
        outputs[name] = folder / f"run-{number}"
        paths = {"recipe": path, "data": manifest, "splits": splits, "output": outputs[name]}
        given = [part for key, value in paths.items() for part in (f"--{key}", str(value))]
        arguments = [
            "fit",
            *given,
            "--workers",
            "1",
            "--threads",
            "1",
            "--device",
            "cpu",
            "--progress",
            "none",
        ]
        if number == 1:
            with pytest.MonkeyPatch.context() as patch:
                curve = folder / "run-1-training" / CURVE_FILE
                patch.setattr(StopRequests, "asked", lambda self, curve=curve: curve.exists())
                assert main(arguments) == 3
        assert main(arguments) == 0
    torch.set_num_threads(before)
    return outputs


def dice_by_hand(package: Path) -> float:
    """Mean hard Dice of the two validation balls by the network of the package."""
    model = load_model(package)
    dices = []
    for volume in balls(5)[3:]:
        # What the card's steps make of the stored HU.
        image = np.rint(volume.image[0].astype(np.float32) * 1000).astype(np.int16) * np.float32(0.001)
        settings = {**model.card.inference, "samples": 0}
        network = model.build()
        found = predict(network, image[None], settings, choose_runtime("cpu", "fp32"), Reporter())
        mask = found.probability[0] >= model.card.inference["threshold"]
        dices.append(2 * (mask & (volume.labels > 0)).sum() / (mask.sum() + (volume.labels > 0).sum()))
    return float(np.mean(dices))


def test_the_table_has_the_published_figures_beside_those_of_the_trainings(runs, tmp_path, capsys):
    table = tmp_path / "table.csv"
    names = [str(runs[name]) for name in reversed(ROWS)]
    assert main(["report", *names, "--only-trained", "--csv", str(table)]) == 0
    printed = capsys.readouterr().out
    with table.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["table"] in TABLES]
    assert [(row["recipe"], row["table"], row["run"]) for row in rows] == [
        (ROWS[0], TABLES[0], str(runs[ROWS[0]])),
        (ROWS[1], TABLES[0], str(runs[ROWS[1]])),
        (ROWS[2], TABLES[1], str(runs[ROWS[2]])),
    ]
    assert [row["published"] for row in rows] == ["0.49", "0.729", ""]
    for row, name in zip(rows, ROWS, strict=True):
        assert (row["label"], row["part"], row["cases"]) == ("Lung tumour", "validation", "2")
        assert float(row["measured"]) == pytest.approx(dice_by_hand(runs[name]), abs=0.002)
        assert f"{float(row['measured']):.3f}" in printed and str(runs[name]) in printed
    assert len({row["measured"] for row in rows}) == 3, "each run has its own figure"
