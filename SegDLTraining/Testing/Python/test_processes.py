"""Two processes under torchrun train as one does, on the user's own cases, through the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from SegDLEngine.errors import InputError
from SegDLTrainingLib.checkpoint import read_tensors
from SegDLTrainingLib.command_line import main
from SegDLTrainingLib.losses.reduction import over_batch
from SegDLTrainingLib.processes import Processes
from tiny_training import fit_arguments, smallest_recipe, write_job

ROOT = Path(__file__).resolve().parents[3]
LOSS = {"name": "sum", "terms": [{"name": "dice", "per": "batch"}, {"name": "cross_entropy"}]}


@pytest.fixture(scope="module")
def job(tmp_path_factory) -> tuple[Path, Path]:
    """A recipe and a manifest of cases in files."""
    second = {"training": {"trainable": ["head*"], "epochs": 1}}
    recipe = smallest_recipe(loss=LOSS, training={"epochs": 2}, phases=[{}, second])
    recipe.card["network"]["options"].update(dropout=0.0, normalisation="instance")
    return write_job(tmp_path_factory.mktemp("cases"), recipe)


def curve(output: Path) -> list[dict[str, float]]:
    rows = json.loads((output.with_name(f"{output.name}-training") / "history.json").read_text())
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_two_processes_train_as_one(job, tmp_path, capsys):
    assert main(fit_arguments(job, tmp_path / "one")) == 0
    capsys.readouterr()
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "-m", "SegDLTrainingLib", *fit_arguments(job, tmp_path / "two")]
    folders = [str(ROOT / "SegDL"), str(ROOT / "SegDLTraining")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    one, two = curve(tmp_path / "one"), curve(tmp_path / "two")
    assert len(one) == len(two) == 3
    for row, again in zip(one, two, strict=True):
        assert row == pytest.approx(again, abs=2e-4)
    states = [
        read_tensors(next((tmp_path / f"{name}-training").glob("kept-*")))[0] for name in ("one", "two")
    ]
    assert all(torch.allclose(states[0][key], states[1][key], atol=2e-3) for key in states[0])
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len([event for event in events if event["event"] == "result"]) == 1, "only the first reports"
    assert (tmp_path / "two" / "model.json").is_file()


def test_shares_of_a_batch_are_equal_and_complete():
    shares = [list(Processes(rank, 3).share(12)) for rank in range(3)]
    assert shares == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    with pytest.raises(InputError, match="batch of 4 cannot be shared equally by 3 processes"):
        Processes(0, 3).share(4)


def test_a_single_process_sums_alone():
    sums = torch.ones(3, requires_grad=True)
    assert over_batch(sums) is sums
    assert Processes().sum([1.5, True]) == [1.5, 1.0]
