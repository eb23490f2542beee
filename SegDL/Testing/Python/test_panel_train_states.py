"""What the section for training shows and says in each state; a small program stands for the training."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.host

MODULE = Path(__file__).resolve().parents[2] / "SegDL.py"
SECTIONS = ("model", "images", "options", "results", "train", "log")
EVENT = "import json, sys\ndef say(**event): print(json.dumps(event), flush=True)\n"
PROGRESS = 'say(event="progress", stage="{stage}", fraction=0.25, eta_s=90, **{details})\n'


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    from host import requirements

    if requirements.qt_problem():
        pytest.skip(requirements.qt_problem())
    import host

    host.start()
    module = host.load_module(MODULE, width=350, height=900)
    yield module
    module.unload()


@pytest.fixture
def panel(slicer_app, loaded, tmp_path, monkeypatch):
    """The widget with all that a training needs chosen."""
    import host
    from tiny_cases import write_recipe

    write_recipe(tmp_path / "tiny.json")
    widget = loaded.widget
    for section in SECTIONS:
        getattr(widget.ui, f"{section}CollapsibleButton").collapsed = section != "train"
    parameters = widget.panel.parameters
    parameters.trainRecipe = str(tmp_path / "tiny.json")
    parameters.trainData, parameters.trainOutput = str(tmp_path), str(tmp_path / "model")
    host.clear_warnings()
    yield widget
    widget.logic.trainer.stop(atOnce=True)
    assert host.warnings() == []


@pytest.fixture
def train(panel, tmp_path, monkeypatch):
    """Click start with a program in the place of the training."""
    import host

    def start(source):
        program = tmp_path / "program"
        program.write_text(f"#!{sys.executable}\n{EVENT}{source}", encoding="utf-8")
        program.chmod(0o755)
        monkeypatch.setenv("SEGDL_PYTHON", str(program))
        host.click(panel.ui.trainButton)

    if os.name == "nt":
        pytest.skip("a script is no program here")
    return start


def waitForEnd(panel):
    import host

    host.wait_for(lambda: not panel.logic.trainer.busy, 30, "the end of the training")


def wordsOfTraining(panel, train, tmp_path):
    """The words of the command that a click starts."""
    said = tmp_path / "words.json"
    train(f"json.dump(sys.argv, open({str(said)!r}, 'w'))\nsys.exit('segdl-train: no training here')")
    waitForEnd(panel)
    return json.loads(said.read_text())


def wordAfter(word, words):
    return words[words.index(word) + 1]


def checkpoint(tmp_path):
    place = tmp_path / "model-training" / "checkpoint.safetensors"
    place.parent.mkdir()
    place.touch()


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_fits_into_a_narrow_panel(panel, loaded, section):
    import host

    for name in SECTIONS:
        getattr(panel.ui, f"{name}CollapsibleButton").collapsed = name != section
    panel.ui.trainDataPath.setCurrentPath("/" + "a-long-folder/" * 20)
    host.process_events()
    assert loaded.panel.minimumSizeHint.width() <= 350


def test_a_table_is_chosen_beside_a_folder(panel, tmp_path, monkeypatch):
    import host
    import qt

    ui, table = panel.ui, str(tmp_path / "cases.csv")
    monkeypatch.setattr(qt.QFileDialog.host_class, "getOpenFileName", lambda *words: table)
    host.click(ui.trainTableButton)
    assert ui.trainDataPath.currentPath == table
    panel.panel.parameters.trainSource = "scene"
    host.process_events()
    assert not ui.trainTableButton.visible and not ui.trainDataPath.visible


def test_weights_to_start_from_are_single_networks(panel, train, tmp_path):
    import host

    ui = panel.ui
    titles = [ui.trainStartSelector.itemText(index) for index in range(ui.trainStartSelector.count)]
    assert titles[0] == ui.trainStartSelector.currentText == "Random weights"
    assert any("multi-scale" in title for title in titles), "a demonstration with one network"
    lung = next(row["title"] for row in panel.logic.models() if row["id"] == "lung-tumor-unet2d")
    assert lung not in titles, "an ensemble is no network to start from"
    assert not any("not installed" in title for title in titles)
    assert "--start-from" not in wordsOfTraining(panel, train, tmp_path)
    identifier = "brain-tumor-unet3d-69k-demo"
    title = next(row["title"] for row in panel.logic.models() if row["id"] == identifier)
    host.choose(ui.trainStartSelector, title)
    assert panel.panel.parameters.trainStart == identifier
    assert wordAfter("--start-from", wordsOfTraining(panel, train, tmp_path)) == identifier
    host.choose(ui.trainStartSelector, "Random weights")
    assert panel.panel.parameters.trainStart == ""


def test_a_recipe_that_fine_tunes_waits_for_its_weights(panel, train, tmp_path, monkeypatch):
    import host
    import qt

    recipe = json.loads((tmp_path / "tiny.json").read_text())
    (tmp_path / "tuned.json").write_text(json.dumps({**recipe, "transfer": {"fresh": ["head"]}}))
    ui = panel.ui
    panel.panel.parameters.trainRecipe = str(tmp_path / "tuned.json")
    assert not ui.trainButton.enabled
    assert "Start from" in ui.trainStatusLabel.text and "Start from" in ui.trainButton.toolTip
    package = tmp_path / "first-pass"
    chosen = iter([str(package / "model.json"), "", str(tmp_path / "genesis.safetensors")])
    monkeypatch.setattr(qt.QFileDialog.host_class, "getOpenFileName", lambda *words: next(chosen))
    for name in ("first-pass", "first-pass", "genesis.safetensors"):
        host.click(ui.trainStartButton)
        assert ui.trainStartSelector.currentText == name
        assert ui.trainButton.enabled and ui.trainStatusLabel.text == ""
    assert panel.panel.parameters.trainStart == str(tmp_path / "genesis.safetensors")
    words = wordsOfTraining(panel, train, tmp_path)
    assert wordAfter("--start-from", words) == str(tmp_path / "genesis.safetensors")
    panel.panel.parameters.trainStart = ""
    panel.panel.parameters.trainRecipe = str(tmp_path / "tiny.json")
    assert ui.trainButton.enabled


def test_a_model_that_is_installed_can_be_started_from(panel, tmp_path, monkeypatch):
    from tiny_model import write_tiny_package

    monkeypatch.setenv("SEGDL_MODELS", str(tmp_path / "models"))
    assert panel.ui.trainStartSelector.findText("Tiny network for tests") < 0
    write_tiny_package(tmp_path / "models" / "tiny-tumor")
    panel.panel.reloadModels()
    assert panel.ui.trainStartSelector.findText("Tiny network for tests") > 0
    panel.panel.parameters.trainStart = "tiny-tumor"
    assert panel.ui.trainStartSelector.currentText == "Tiny network for tests"
    monkeypatch.undo()
    panel.panel.reloadModels()
    assert panel.ui.trainStartSelector.currentText == "tiny-tumor", "a saved scene names it"
    panel.panel.parameters.trainStart = ""


def test_a_path_that_is_deleted_is_missing(panel):
    ui = panel.ui
    assert ui.trainButton.enabled
    ui.trainOutputPath.setCurrentPath("")
    assert not ui.trainButton.enabled
    assert ui.trainStatusLabel.text == "Choose a folder for the model."
    ui.trainOutputPath.setCurrentPath("relative/model")
    assert not ui.trainButton.enabled, "nobody knows the folder that Slicer runs in"


def test_a_finished_model_is_not_trained_again(panel, tmp_path):
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / "model.json").write_text("{}")
    ui = panel.ui
    ui.trainOutputPath.setCurrentPath(str(tmp_path / "done"))
    assert not ui.trainButton.enabled
    assert "is finished: install it, or choose another folder" in ui.trainButton.toolTip
    assert ui.trainInstallButton.visible
    ui.trainOutputPath.setCurrentPath(str(tmp_path / "other"))
    assert ui.trainButton.enabled


def test_preparing_does_not_promise_a_time(panel, train):
    import host

    steps = {"epoch": 1, "step": 2, "steps": 9, "loss": 0.5}
    train(
        PROGRESS.format(stage="checking", details={})
        + "sys.stdin.readline()\n"
        + PROGRESS.format(stage="training", details=steps)
        + "sys.stdin.readline()"
    )
    host.wait_for(lambda: "25" in panel.ui.trainStatusLabel.text, 30)
    assert panel.ui.trainStatusLabel.text == "25 %  checking the cases"
    panel.logic.trainer.stop()
    host.wait_for(lambda: "epoch" in panel.ui.trainStatusLabel.text, 30)
    assert panel.ui.trainStatusLabel.text == "25 %  epoch 1, step 2/9, loss 0.5000, 1 min 30 s left"
    panel.logic.trainer.stop(atOnce=True)


def test_a_stop_says_how_to_go_on_here(panel, train, tmp_path):
    import host

    hint = "The same command goes on from here."
    train(
        PROGRESS.format(stage="checking", details={})
        + f'sys.stdin.readline()\nsay(event="error", code="cancelled", text="Stopped.", hint="{hint}")\n'
        "sys.exit(3)"
    )
    host.wait_for(lambda: "25" in panel.ui.trainStatusLabel.text, 30)
    checkpoint(tmp_path)
    host.click(panel.ui.trainButton)
    waitForEnd(panel)
    assert panel.ui.trainStatusLabel.text == "Stopped. Continue training goes on from here."
    assert panel.ui.trainButton.text == "Continue training"


def test_a_training_that_does_not_stop_can_be_stopped_at_once(panel, train, monkeypatch):
    import host
    from SegDLLib.panel import train_part

    monkeypatch.setattr(train_part, "_PATIENCE_MS", 200)
    train(PROGRESS.format(stage="checking", details={}) + "import time\ntime.sleep(600)")
    ui = panel.ui
    host.wait_for(lambda: "25" in ui.trainStatusLabel.text, 30)
    host.click(ui.trainButton)
    assert not ui.trainButton.enabled, "a double click means one stop"
    host.wait_for(lambda: ui.trainButton.enabled, 10)
    assert ui.trainButton.text == "Stop at once"
    host.click(ui.trainButton)
    waitForEnd(panel)
    assert ui.trainStatusLabel.text == "Stopped."
    assert ui.trainButton.text == "Start training"


def test_a_kill_is_told_with_its_remedy_and_the_last_lines_are_in_the_log(panel, train):
    import host

    train("print('a line of a library', file=sys.stderr)\nimport os\nos.kill(os.getpid(), 9)")
    waitForEnd(panel)
    text = panel.ui.trainStatusLabel.text
    assert "was ended by the system or crashed" in text
    assert "Memory may have run out" in text
    assert "background" in panel.ui.trainStatusLabel.styleSheet
    host.click(panel.ui.logCollapsibleButton)
    assert "a line of a library" in panel.ui.logText.toPlainText()


def test_a_scene_that_is_added_meanwhile_does_not_change_the_model(panel, train, tmp_path):
    import host
    import slicer

    assert slicer.mrmlScene.WriteToMRB(str(tmp_path / "other.mrb"))
    panel.panel.parameters.trainOutput = str(tmp_path / "mine")
    train(PROGRESS.format(stage="checking", details={}) + "sys.stdin.readline()")
    host.wait_for(lambda: "25" in panel.ui.trainStatusLabel.text, 30)
    assert slicer.mrmlScene.ReadFromMRB(str(tmp_path / "other.mrb"), False)
    assert panel.panel.parameters.trainOutput == str(tmp_path / "model"), "the other scene's choice"
    assert panel.logic.trainer.busy
    panel.logic.trainer.stop()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.json").write_text("{}")
    waitForEnd(panel)
    assert panel.panel.parameters.trainOutput == str(tmp_path / "mine")
    assert panel.ui.trainInstallButton.visible
