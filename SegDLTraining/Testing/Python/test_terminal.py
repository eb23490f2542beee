"""What a training shows on a terminal."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest
import torch
from SegDLTrainingLib.command_line import main
from SegDLTrainingLib.progress import StopRequests
from tiny_training import smallest_recipe, write_job


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def screen(self) -> list[str]:
        """The lines as they stand in the end: after a carriage return the next text covers the last."""
        return [line.rstrip().split("\r")[-1].strip() for line in self.getvalue().split("\n")]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def on_terminal(monkeypatch) -> Terminal:
    """From here on stderr is a terminal; pytest sets its own one after the fixtures."""
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setenv("COLUMNS", "120")
    return shown


def command(folder: Path) -> list[str]:
    recipe, manifest = write_job(folder, smallest_recipe(training={"epochs": 2}))
    paths = ["--recipe", str(recipe), "--data", str(manifest), "--output", str(folder / "model")]
    return ["fit", *paths, "--workers", "1", "--device", "cpu", "--threads", "1"]


def test_the_bar_has_epoch_step_loss_and_time_left(tmp_path, monkeypatch):
    terminal = on_terminal(monkeypatch)
    assert main(command(tmp_path)) == 0
    bars = [text.strip() for text in re.split(r"[\r\n]", terminal.getvalue()) if "step" in text]
    expected = r"\[#+-*\] +\d+ %  epoch 2/2, step 1/4, loss 0\.\d{4}, \d+ s left"
    assert any(re.fullmatch(expected, bar) for bar in bars), bars[-5:]
    assert any(line.startswith("epoch 1: loss 0.") for line in terminal.screen())


def test_a_stop_is_told_on_a_line_of_its_own(tmp_path, monkeypatch):
    terminal = on_terminal(monkeypatch)
    monkeypatch.setattr(StopRequests, "asked", lambda self: "step 2/4" in terminal.getvalue())
    assert main(command(tmp_path)) == 3
    last = [line for line in terminal.screen() if line][-1]
    assert re.match(r"segdl-train: Stopped after step \d of 8; a checkpoint was written\. The same", last)


def test_files_of_a_result_are_named(tmp_path, capsys):
    ct = tmp_path / "ct.nrrd"
    assert main(["phantom", str(ct), "--spacing", "6", "6", "8", "--seed", "3"]) == 0
    assert capsys.readouterr().out == f"ct: {ct}\n"
