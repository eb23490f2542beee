"""``segdl-train cross-validate``: folds by patient, table, ensemble; going on where it was interrupted."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
from SegDLEngine.images.reading import read_image
from SegDLEngine.models.catalogue import load_model
from SegDLEngine.pipeline import segment
from SegDLTrainingLib.command_line import main
from tiny_training import smallest_recipe, write_job

FOLDS = ("fold-1", "fold-2")


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def job(tmp_path_factory) -> tuple[Path, Path]:
    recipe = smallest_recipe(training={"epochs": 2, "keep": "last"})
    return write_job(tmp_path_factory.mktemp("cases"), recipe)


def command(job, output, *more: str) -> list[str]:
    settings = ["--workers", "1", "--device", "cpu", "--threads", "1", "--progress", "json"]
    arguments = ["--recipe", str(job[0]), "--data", str(job[1]), "--output", str(output)]
    return ["cross-validate", *arguments, *settings, *more]


def events_of(capsys) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def validated(job, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("validated") / "output"
    assert main(command(job, output, "--folds", "2")) == 0
    return output


def test_each_patient_validates_one_fold_and_the_table_has_mean_and_deviation(validated):
    rows = json.loads((validated / "folds.json").read_text())
    assert [row["fold"] for row in rows] == list(FOLDS)
    assert sorted(row["validation"] for row in rows) == [2, 3]
    assert all(row["training"] + row["validation"] == 5 for row in rows)
    dices = [row["figures"]["Lung tumour"]["dice_mean"] for row in rows]
    with (validated / "folds.csv").open() as stream:
        table = list(csv.DictReader(stream))
    assert [line["fold"] for line in table] == [*FOLDS, "mean", "sd"]
    assert [float(line["dice_mean"]) for line in table[:2]] == dices
    assert float(table[2]["dice_mean"]) == pytest.approx(sum(dices) / 2, abs=1e-4)
    assert float(table[3]["dice_mean"]) == pytest.approx(abs(dices[0] - dices[1]) / 2**0.5, abs=1e-4)


def test_the_ensemble_holds_the_networks_of_the_folds(validated, job):
    ensemble = load_model(validated / "ensemble")
    networks = list(ensemble.networks())
    assert len(networks) == 2
    for fold, network in zip(FOLDS, networks, strict=True):
        state = load_model(validated / fold).build().state_dict()
        assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())
    training = ensemble.card.data["training"]
    assert training["validation"]["Lung tumour"]["cases"] == 5 and len(training["folds"]) == 2
    assert training["measured"] and all(row["part"] == "validation" for row in training["measured"])
    assert main(["report", str(validated / "ensemble"), "--progress", "none"]) == 0
    ct = read_image(job[1].parent / "0.nrrd", modality="CT", unit="HU")
    assert segment({"CT": ct}, validated / "ensemble").labels.array.shape == ct.array.shape


def test_finished_folds_are_left_and_a_lost_one_is_trained_again(validated, job, tmp_path, capsys):
    output = tmp_path / "moved"
    shutil.copytree(validated, output)
    before = (output / "folds.csv").read_bytes()
    times = (output / "fold-1" / "model.json").stat().st_mtime_ns
    shutil.rmtree(output / "fold-2")
    shutil.rmtree(output / "fold-2-training")
    assert main(command(job, output, "--folds", "2")) == 0
    events = events_of(capsys)
    texts = [event["text"] for event in events if event["event"] == "log"]
    assert "fold-1 is finished." in texts
    assert any(text.startswith("fold-2 of 2: split 'fold-2'") for text in texts)
    assert (output / "fold-1" / "model.json").stat().st_mtime_ns == times
    assert (output / "folds.csv").read_bytes() == before
    fractions = [event["fraction"] for event in events if event["event"] == "progress"]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert events[-1]["event"] == "result"


def test_a_recipe_without_folds_and_generated_cases_are_refused(job, tmp_path, capsys):
    assert main(command(job, tmp_path / "output")) == 2
    error = events_of(capsys)[-1]
    assert "only once" in error["text"] and "--folds" in error["hint"]
    arguments = ["--recipe", "lung-tumor-unet2d", "--output", str(tmp_path / "output")]
    assert main(["cross-validate", *arguments, "--progress", "none"]) == 2
    assert "--data" in capsys.readouterr().err
