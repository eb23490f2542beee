"""Errors against uncertainty: hand examples, and the evaluation of a tiny model from the command line."""

import copy
import csv
import json
import math

import numpy as np
import pytest
import torch
from SegDLEngine.networks.registry import build_network
from SegDLTrainingLib.command_line import main
from SegDLTrainingLib.package import export_package
from SegDLTrainingLib.recipes import licence_text
from SegDLTrainingLib.uncertainty.histogram import BINS, Calibration, ErrorsByUncertainty
from SegDLTrainingLib.uncertainty.slices import correlation, hard_dice, report_dice, slice_rows
from tiny_training import smallest_recipe, write_job


def test_bins_are_shares_of_the_maximum_and_count_errors():
    errors = ErrorsByUncertainty(0.5)
    found = np.array([True, True, False, False])
    truth = np.array([True, False, True, False])
    errors.add(np.array([0.01, 0.19, 0.2, 0.0]), found, truth)
    rows = list(errors.bins())
    assert errors.maximum == 0.2
    assert [row["voxels"] for row in rows] == [2, 0, 0, 0, 0, 0, 0, 0, 0, 2]
    assert rows[0]["error_rate"] == 0 and rows[0]["dice"] == 1
    assert rows[9]["error_rate"] == 1 and rows[9]["dice"] == 0 and rows[4]["error_rate"] is None
    assert errors.area_under_curve() == 1


def test_the_area_under_the_curve_is_that_of_all_pairs():
    rng = np.random.default_rng(0)
    uncertainty = np.round(rng.random(300), 2) / 2
    truth = rng.random(300) < 0.5
    found = truth ^ (rng.random(300) < uncertainty)
    errors = ErrorsByUncertainty(0.5)
    for part in np.split(np.arange(300), 3):
        errors.add(uncertainty[part], found[part], truth[part])
    wrong, right = uncertainty[found != truth], uncertainty[found == truth]
    pairs = (wrong[:, None] > right).mean() + 0.5 * (wrong[:, None] == right).mean()
    assert errors.area_under_curve() == pytest.approx(pairs)
    nothing_wrong = ErrorsByUncertainty(0.5)
    nothing_wrong.add(uncertainty, truth, truth)
    assert nothing_wrong.area_under_curve() is None


def test_leaving_out_what_is_uncertain_leaves_the_rest():
    errors = ErrorsByUncertainty(1.0)
    truth = np.arange(100) % 2 == 0
    found = truth.copy()
    found[95:] = ~truth[95:]
    errors.add(np.arange(100) / 100, found, truth)
    rows = {row["wanted"]: row for row in errors.retention()}
    assert rows[1.0]["kept"] == 1 and rows[1.0]["error_rate"] == 0.05
    assert rows[0.95]["kept"] == 0.95 and rows[0.95]["error_rate"] == 0 and rows[0.95]["dice"] == 1
    assert rows[0.5]["kept"] == 0.5 and rows[0.5]["truth_kept"] == 0.5


def test_calibration_compares_probability_and_frequency():
    calibration = Calibration()
    calibration.add(np.array([0.05, 0.05, 0.95, 1.0]), np.array([False, True, True, True]))
    rows = list(calibration.bins())
    assert len(rows) == BINS
    assert rows[0]["mean_probability"] == pytest.approx(0.05) and rows[0]["frequency"] == 0.5
    assert calibration.error() == pytest.approx((2 * 0.45 + 2 * 0.025) / 4)


def test_the_report_s_dice_of_the_specification():
    """400 of 4096 pixels; p 0.9 on the first 300, else 0.1: 0.5741127 with 100, 0.5335366 with 0."""
    truth = np.zeros((1, 64, 64), bool)
    truth.reshape(-1)[:400] = True
    probability = np.full((1, 64, 64), 0.1)
    probability.reshape(-1)[:300] = 0.9
    rows = slice_rows(truth, probability >= 0.5, probability, {})
    assert report_dice(rows) == pytest.approx(0.5741127, abs=1e-7)
    assert report_dice(rows, smooth=0) == pytest.approx(0.5335366, abs=1e-7)
    assert hard_dice(rows) == pytest.approx(600 / 700)


def test_batches_and_empty_slices():
    truth = np.zeros((5, 4, 4), bool)
    truth[1] = True
    rows = slice_rows(
        truth, truth, truth.astype(float), {"std": np.arange(5.0)[:, None, None] * np.ones((5, 4, 4))}
    )
    assert [row["dice"] for row in rows] == [None, 1, None, None, None]
    assert [row["std"] for row in rows] == [0, 1, 2, 3, 4]
    assert report_dice(rows, batch=2, smooth=0.5) == 1 and report_dice([]) is None
    assert hard_dice(rows) == 1 and correlation(rows, "std") is None
    varied = [{"dice": 1 - 0.1 * n, "std": 0.2 * n} for n in range(4)]
    assert correlation(varied, "std") == pytest.approx(-1)


def model(folder, activation: str = "sigmoid", dropout: float = 0.3):
    card = copy.deepcopy(smallest_recipe().card)
    classes = 2 if activation == "softmax" else 1
    card["network"]["options"].update(dropout=dropout, out_channels=classes)
    card["preprocessing"] = [{"step": "scale", "offset": 500, "factor": 0.001}]
    card["postprocessing"] = []
    card["inference"] = {
        "mode": "slices", "context": [0], "batch": 4, "activation": activation, "threshold": 0.5,
        "uncertainty": "none",
    }  # fmt: skip
    torch.manual_seed(1)
    network = build_network(card["network"]["name"], card["network"]["options"])
    export_package(network.state_dict(), card, folder, training={}, licence_file=licence_text())
    return folder


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_a_model_is_evaluated_on_the_user_s_cases(tmp_path, capsys, activation):
    _, manifest = write_job(tmp_path, smallest_recipe())
    command = [
        "evaluate-uncertainty",
        "--model",
        str(model(tmp_path / "model", activation)),
        "--data",
        str(manifest),
    ]
    command += ["--samples", "3", "--device", "cpu", "--progress", "json"]
    assert main([*command, "--output", str(tmp_path / "out")]) == 0, capsys.readouterr().err
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["samples"] == 3
    figures = summary["labels"]["Lung tumour"]
    assert figures["cases"] == 5 and figures["slices"] == 60
    assert 0 < figures["maximum_std"] <= 0.5 and 0 < figures["maximum_entropy"] <= math.log(2) + 1e-6
    assert 0 <= figures["report_dice_deterministic"] <= 1 and 0 <= figures["error_auc_std"] <= 1
    out = tmp_path / "out"
    assert [row["case"] for row in table(out / "cases.csv")] == [f"case{n}" for n in range(5)]
    assert len(table(out / "slices.csv")) == 60
    for name in ("std", "entropy"):
        rows = [row for row in table(out / "bins.csv") if row["uncertainty"] == name]
        assert sum(int(row["voxels"]) for row in rows) == 5 * 12 * 16 * 16
        last = [row for row in table(out / "retention.csv") if row["uncertainty"] == name][-1]
        wrong = sum(int(row["wrong"]) for row in rows) / (5 * 12 * 16 * 16)
        assert float(last["error_rate"]) == pytest.approx(wrong, rel=1e-4)
    assert {row["prediction"] for row in table(out / "calibration.csv")} == {"deterministic", "mean"}

    assert main([*command, "--output", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again" / "slices.csv").read_bytes() == (out / "slices.csv").read_bytes()


def test_what_cannot_be_evaluated_is_told(tmp_path, capsys):
    _, manifest = write_job(tmp_path, smallest_recipe())
    plain = model(tmp_path / "model", dropout=0.0)
    command = [
        "evaluate-uncertainty",
        "--model",
        str(plain),
        "--output",
        str(tmp_path / "out"),
        "--progress",
        "none",
    ]
    assert main([*command, "--recipe", "004-res-unet2d"]) == 2
    assert "has no generated cases" in capsys.readouterr().err
    assert main([*command, "--data", str(manifest), "--samples", "1"]) == 2
    assert "--samples 25" in capsys.readouterr().err
    manifest.write_text("case,CT\na,0.nrrd\n")
    assert main([*command, "--data", str(manifest)]) == 2
    assert "'a' has no labels" in capsys.readouterr().err
