"""A whole small training: loss falls, the package is sound, the engine can load it, cancel stops it."""

import csv
import json

import pytest
import torch
from SegDLEngine.errors import Cancelled
from SegDLEngine.models.catalogue import load_model
from SegDLEngine.models.package import verify
from SegDLEngine.protocol import Reporter
from SegDLTrainingLib.checkpoint import CHECKPOINT_FILE
from SegDLTrainingLib.command_line import main
from SegDLTrainingLib.fit import fit
from SegDLTrainingLib.package import export_package
from SegDLTrainingLib.places import CURVE_FILE, HISTORY_FILE
from SegDLTrainingLib.recipes import licence_text
from SegDLTrainingLib.stages import STAGES_FOLDER
from tiny_training import bright_ball, tiny_recipe

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    volumes = [bright_ball(seed) for seed in range(4)]
    events = []
    result = fit(tiny_recipe(), volumes, volumes[:2], folder, Reporter(events.append))
    return folder, result, events


def test_training_reduces_the_loss_and_finds_the_ball(trained):
    _, result, _ = trained
    assert result.history[-1]["loss"] < 0.6 * result.history[0]["loss"]
    assert result.kept["validation_dice"] > 0.6


def test_training_reports_its_progress_and_keeps_curve_and_weights(trained):
    folder, result, events = trained
    fractions = [event["fraction"] for event in events if event["event"] == "progress"]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert json.loads((folder / HISTORY_FILE).read_text())[-1] == result.history[-1]
    kept = f"kept-{12 * (result.kept['epoch'] + 1):08d}.safetensors"
    names = {path.name for path in folder.iterdir()}
    assert names == {CHECKPOINT_FILE, CURVE_FILE, HISTORY_FILE, kept, STAGES_FOLDER}
    rows = list(csv.DictReader((folder / CURVE_FILE).open()))
    assert [float(row["loss"]) for row in rows] == [row["loss"] for row in result.history]


def test_training_is_reproducible(trained, tmp_path):
    _, result, _ = trained
    volumes = [bright_ball(seed) for seed in range(4)]
    again = fit(tiny_recipe().with_epochs(1), volumes, volumes[:2], tmp_path / "again", Reporter())
    third = fit(tiny_recipe().with_epochs(1), volumes, volumes[:2], tmp_path / "third", Reporter())
    assert all(torch.equal(again.state[name], third.state[name]) for name in again.state)
    assert set(again.state) == set(result.state)


def test_package_verifies_and_loads_in_the_engine(trained, tmp_path):
    _, result, _ = trained
    recipe = tiny_recipe()
    row = export_package(
        result.state,
        recipe.card,
        tmp_path / "model",
        training={"seed": recipe.seed},
        licence_file=licence_text(),
    )
    assert row["id"] == recipe.card["id"] and verify(tmp_path / "model")["sha256"] == row["sha256"]
    network = load_model(tmp_path / "model").build()
    weights = network.state_dict()
    assert all(
        torch.allclose(weights[name].float(), result.state[name].float(), rtol=1e-3, atol=1e-5)
        for name in result.state
    )


def test_training_goes_on_from_given_weights(trained, tmp_path):
    _, result, _ = trained
    volumes = [bright_ball(seed) for seed in range(4)]
    recipe = tiny_recipe().with_epochs(1)
    more = fit(recipe, volumes, volumes[:2], tmp_path, Reporter(), initial=result.state)
    assert more.history[0]["loss"] < 0.6 * result.history[0]["loss"]


def test_cancel_stops_at_once(tmp_path):
    volumes = [bright_ball(0)]
    with pytest.raises(Cancelled):
        fit(tiny_recipe(), volumes, volumes, tmp_path, Reporter(cancelled=lambda: True))


def test_command_lists_recipes_and_refuses_unknown_ones(tmp_path, capsys):
    assert main(["recipes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0])["id"]
    assert main(["fit", "--recipe", "nothing", "--output", str(tmp_path / "model")]) == 2
    assert "nothing" in capsys.readouterr().err


def test_command_trains_on_phantoms_and_writes_a_package(tmp_path):
    data = tiny_recipe().data
    data["data"].update(spacing=[6.0, 6.0, 9.0])
    data["data"]["training"]["count"], data["data"]["validation"]["count"] = 2, 1
    data["card"]["preprocessing"][0]["spacing"] = [6.0, 6.0, 9.0]
    data["training"].update(epochs=1, steps_per_epoch=2)
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    output = tmp_path / "model"
    arguments = ["--recipe", str(path), "--output", str(output), "--workers", "1", "--device", "cpu"]
    assert main(["fit", *arguments, "--progress", "none"]) == 0
    card = json.loads((output / "model.json").read_text())
    assert card["training"]["seed"] == data["seed"] and card["training"]["epochs"] == 1
    verify(output)
