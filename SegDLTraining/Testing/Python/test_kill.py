"""``kill -9`` at random moments: the training that goes on ends with the same weights."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from killed_training import kill_recipe
from SegDLEngine.protocol import Reporter
from SegDLTrainingLib.checkpoint import read_tensors
from SegDLTrainingLib.fit import fit
from tiny_training import balls

HERE = Path(__file__).resolve().parent
KILLS = 10


@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked, which this system cannot")
def test_killed_ten_times_the_weights_are_those_of_an_undisturbed_training(tmp_path):
    root = HERE.parents[2]
    folders = [root / "SegDL", root / "SegDLTraining", HERE]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders)), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "killed_training.py"), str(tmp_path / "killed"), str(KILLS), "3"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    ends = done.stdout.split()
    assert ends[-1] == "ended" and ends.count("killed") >= 3
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    expected = fit(kill_recipe(), balls(), balls(2), tmp_path / "whole", Reporter())
    torch.set_num_threads(before)
    kept = next((tmp_path / "killed").glob("kept-*.safetensors"))
    state, _ = read_tensors(kept)
    assert set(state) == set(expected.state)
    assert all(torch.equal(state[name], expected.state[name]) for name in state)
