"""Two processes under torchrun train as one does: every kind of layer, restarts, folds, errors."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import shared_training
import torch
from SegDLEngine.errors import Cancelled, InputError
from SegDLTrainingLib.checkpoint import read_tensors
from SegDLTrainingLib.command_line import main
from SegDLTrainingLib.losses.reduction import over_batch
from SegDLTrainingLib.processes import Processes
from SegDLTrainingLib.progress import StopRequests
from tiny_training import fit_arguments, smallest_recipe, write_job

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
LOSS = {"name": "sum", "terms": [{"name": "dice", "per": "batch"}, {"name": "cross_entropy"}]}
TRAIN = ("-m", "SegDLTrainingLib")


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def job(tmp_path_factory) -> tuple[Path, Path]:
    """A recipe of two phases, with batch norm and dropout, and a manifest of cases in files."""
    second = {"training": {"trainable": ["head*"], "epochs": 1}}
    recipe = smallest_recipe(loss=LOSS, training={"epochs": 2, "checkpoint_steps": 2}, phases=[{}, second])
    return write_job(tmp_path_factory.mktemp("cases"), recipe)


def torchrun(*command: object, restarts: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a program in two processes."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    folders = [ROOT / "SegDL", ROOT / "SegDLTraining", HERE]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders)), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*launcher, "--max-restarts", str(restarts), *map(str, command)],
        env=environment, capture_output=True, text=True, timeout=280,
    )  # fmt: skip


def events_of(done: subprocess.CompletedProcess[str], kind: str) -> list[dict]:
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return [event for event in events if event["event"] == kind]


def check_same(one: Path, two: Path, tolerance: float) -> None:
    """The same curve, and the same kept weights and statistics, in two folders of trainings."""
    curves = [json.loads((folder / "history.json").read_text()) for folder in (one, two)]
    for row, again in zip(*curves, strict=True):
        assert {**row, "seconds": 0} == pytest.approx({**again, "seconds": 0}, abs=tolerance), one.name
    states = [read_tensors(next(folder.glob("kept-*")))[0] for folder in (one, two)]
    assert set(states[0]) == set(states[1])
    for name, value in states[0].items():
        assert torch.allclose(value, states[1][name], rtol=tolerance, atol=tolerance), (one.name, name)


def test_networks_with_batch_norm_and_dropout_train_as_in_one_process(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    done = torchrun(HERE / "shared_training.py", two)
    assert done.returncode == 0, done.stderr
    shared_training.train(one, Processes())
    for name in shared_training.RECIPES:
        # With eps 1e-10 the multiscale network makes much of any rounding.
        check_same(one / name, two / name, 2e-3 if name == "multiscale" else 5e-5)
    check_same(one / "teacher", two / "teacher", 5e-5)


def test_a_killed_process_starts_again_and_the_training_ends_as_in_one(job, tmp_path, capsys):
    assert main(fit_arguments(job, tmp_path / "one")) == 0
    done = torchrun(HERE / "killed_process.py", *fit_arguments(job, tmp_path / "two"), restarts=1)
    assert done.returncode == 0, done.stderr
    (error,) = events_of(done, "error")
    assert "Another process of this training has gone." in error["text"]
    assert "Continuing after step 4 of 12." in [event["text"] for event in events_of(done, "log")]
    assert len(events_of(done, "result")) == 1, "only the first process reports"
    check_same(tmp_path / "one-training", tmp_path / "two-training", 1e-3)
    assert (tmp_path / "two" / "model.json").is_file()


def test_folds_are_those_of_one_process(job, tmp_path, capsys):
    def arguments(output: Path) -> list[str]:
        return ["cross-validate", *fit_arguments(job, output)[1:], "--folds", "2", "--epochs", "1"]

    assert main(arguments(tmp_path / "one")) == 0
    done = torchrun(*TRAIN, *arguments(tmp_path / "two"))
    assert done.returncode == 0, done.stderr
    assert len(events_of(done, "result")) == 1
    rows = [json.loads((tmp_path / name / "folds.json").read_text()) for name in ("one", "two")]
    assert [row["fold"] for row in rows[1]] == ["fold-1", "fold-2"]
    for one, two in zip(*rows, strict=True):
        same = ("fold", "split", "identity", "training", "validation", "kept_epoch")
        assert [one[key] for key in same] == [two[key] for key in same]
        figures = [row["figures"]["Lung tumour"] for row in (one, two)]
        assert figures[0] == pytest.approx(figures[1], abs=2e-3)
    assert (tmp_path / "two" / "ensemble" / "model.json").is_file()


def test_what_stops_one_process_is_told_once(job, tmp_path):
    """Only the first process writes, so only there the disk is full."""
    in_the_way = tmp_path / "two-training" / "checkpoint.safetensors.partial"
    in_the_way.mkdir(parents=True)
    done = torchrun(*TRAIN, *fit_arguments(job, tmp_path / "two"))
    assert done.returncode == 1
    (error,) = events_of(done, "error")
    assert error["code"] == "disk" and str(in_the_way.with_suffix("")) in error["text"]
    assert done.stderr.count("segdl-train: ") == 1 and "gloo" not in done.stderr


@pytest.mark.parametrize(("restart", "code"), [("1", 0), ("2", Cancelled.exit_code)])
def test_torchrun_does_not_start_again_what_was_stopped(job, tmp_path, monkeypatch, capsys, restart, code):
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "2")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", restart)
    monkeypatch.setattr(StopRequests, "asked", lambda self: True)
    assert main(fit_arguments(job, tmp_path / "stopped")) == code


def test_shares_of_a_batch_are_equal_and_complete():
    shares = [list(Processes(rank, 3).share(range(6, 18))) for rank in range(3)]
    assert shares == [[6, 7, 8, 9], [10, 11, 12, 13], [14, 15, 16, 17]]
    with pytest.raises(InputError, match="4 rows of a batch cannot be shared equally by 3 processes"):
        Processes(0, 3).share(range(4))


def test_a_single_process_sums_alone():
    sums = torch.ones(3, requires_grad=True)
    assert over_batch(sums) is sums
    assert Processes().sum([1.5, True]) == [1.5, 1.0]
