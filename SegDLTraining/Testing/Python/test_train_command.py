"""``segdl-train fit`` as a user meets it: stopped in every way it can be, resumed, and with bad data."""

import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from SegDLEngine.images.reading import read_labels
from SegDLEngine.images.writing import write_image
from SegDLTrainingLib import progress
from SegDLTrainingLib.checkpoint import CHECKPOINT_FILE, read_tensors
from SegDLTrainingLib.command_line import main
from SegDLTrainingLib.curves import PICTURE_FILE
from SegDLTrainingLib.progress import STOP_FILE, StopRequests
from tiny_training import fit_arguments, smallest_recipe, write_job

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def job(tmp_path_factory) -> tuple[Path, Path]:
    recipe = smallest_recipe(training={"epochs": 5, "keep": "last"})
    return write_job(tmp_path_factory.mktemp("cases"), recipe)


def events_of(capsys) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]


def kept(output: Path) -> dict[str, torch.Tensor]:
    return read_tensors(next((output.with_name(f"{output.name}-training")).glob("kept-*")))[0]


@pytest.fixture(scope="module")
def undisturbed(job, tmp_path_factory) -> tuple[Path, dict[str, torch.Tensor]]:
    output = tmp_path_factory.mktemp("undisturbed") / "model"
    assert main(fit_arguments(job, output)) == 0
    return output, kept(output)


def test_package_and_curves_are_written_and_say_what_they_are(undisturbed):
    output, _ = undisturbed
    training = json.loads((output / "model.json").read_text())["training"]
    assert training["data"]["source"] == "manifest" and training["epochs"] == 5
    figures = training["validation"]["Lung tumour"]
    assert figures["cases"] == 1 and 0 <= figures["dice_mean"] <= 1
    folder = output.with_name("model-training")
    assert len((folder / "history.csv").read_text().splitlines()) == 6
    pytest.importorskip("matplotlib", reason="the picture of the curves needs matplotlib")
    assert (folder / PICTURE_FILE).read_bytes().startswith(b"\x89PNG")


def ask_by_signal(working: Path) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def ask_by_file(working: Path) -> None:
    (working / STOP_FILE).touch()


@pytest.mark.parametrize("ask", [ask_by_signal, ask_by_file])
def test_stopped_while_it_runs_then_resumed(job, undisturbed, tmp_path, capsys, monkeypatch, ask):
    monkeypatch.setattr(progress, "LOOK_EVERY_SECONDS", 0.0)
    working = tmp_path / "model-training"

    def wait_and_ask() -> None:
        while not (working / CHECKPOINT_FILE).exists():
            time.sleep(0.01)
        ask(working)

    thread = threading.Thread(target=wait_and_ask)
    thread.start()
    assert main(fit_arguments(job, tmp_path / "model")) == 3
    thread.join()
    stopped = events_of(capsys)[-1]
    assert stopped["event"] == "error" and stopped["code"] == "cancelled"
    assert "a checkpoint was written" in stopped["text"] and not (tmp_path / "model").exists()
    assert not (working / STOP_FILE).exists()

    (tmp_path / "moved").mkdir()
    shutil.move(working, tmp_path / "moved" / "other-training")
    output = tmp_path / "moved" / "other"
    assert main([*fit_arguments(job, output), "--resume"]) == 0
    events = events_of(capsys)
    assert any(event["event"] == "log" and "Continuing after step" in event["text"] for event in events)
    rows = [event["row"] for event in events if "row" in event]
    assert rows[-1]["epoch"] == 4
    state = kept(output)
    assert all(torch.equal(state[name], undisturbed[1][name]) for name in state)


def test_a_line_on_stdin_asks_to_stop_and_its_end_does_not(monkeypatch):
    for text, expected in ((b'{"command":"stop"}\n', True), (b'nonsense\n[1]\n{"command":"go"}\n', False)):
        reading, writing = os.pipe()
        with os.fdopen(reading) as stream:
            monkeypatch.setattr("sys.stdin", stream)
            requests = StopRequests()
            requests.watch_stdin()
            os.write(writing, text)
            os.close(writing)
            for thread in threading.enumerate():
                if (
                    thread.daemon
                    and thread is not threading.main_thread()
                    and thread.name.endswith("(_read)")
                ):
                    thread.join(10)
            assert requests.asked() is expected


def test_resume_without_a_checkpoint_is_refused(job, tmp_path, capsys):
    assert main([*fit_arguments(job, tmp_path / "model"), "--resume"]) == 2
    assert "no training to resume" in capsys.readouterr().err


def test_a_vanished_case_is_named(job, tmp_path, capsys):
    folder = tmp_path / "cases"
    shutil.copytree(job[1].parent, folder)
    (folder / "3.nrrd").unlink()
    assert main(fit_arguments((job[0], folder / "cases.csv"), tmp_path / "model")) == 2
    error = events_of(capsys)[-1]
    assert "case3" in error["text"] and "3.nrrd" in error["text"] and error["hint"]


def test_a_label_outside_the_card_is_named(job, tmp_path, capsys):
    folder = tmp_path / "cases"
    shutil.copytree(job[1].parent, folder)
    labels = read_labels(folder / "2-labels.nrrd")
    write_image(
        labels.with_array(np.where(labels.array > 0, np.uint8(3), np.uint8(0))), folder / "2-labels.nrrd"
    )
    assert main(fit_arguments((job[0], folder / "cases.csv"), tmp_path / "model")) == 2
    error = events_of(capsys)[-1]
    assert "case2" in error["text"] and "3" in error["text"]


def test_options_of_own_data_need_data(job, tmp_path, capsys):
    arguments = ["fit", "--recipe", str(job[0]), "--output", str(tmp_path / "model"), "--fold", "fold-1"]
    assert main(arguments) == 2
    assert "--fold needs --data" in capsys.readouterr().err
