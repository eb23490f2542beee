"""Stages of a training, and SVCCA of its layers over them, from the command line."""

import csv
import json

import numpy as np
import pytest
import torch
from SegDLEngine.errors import Cancelled
from SegDLEngine.protocol import Reporter
from SegDLTrainingLib.checkpoint import read_tensors
from SegDLTrainingLib.command_line import main
from SegDLTrainingLib.fit import fit
from test_resume import stopping_after
from tiny_training import balls, fit_arguments, smallest_recipe, write_job


@pytest.mark.parametrize(
    "stages, expected",
    [({"every": 3}, [0, 3, 6, 9, 12]), ({"every": 2, "of": "epochs"}, [0, 8])],
    ids=["steps", "epochs"],
)
def test_stages_are_the_kept_network_s_weights_and_do_not_depend_on_interruptions(tmp_path, stages, expected):
    recipe = smallest_recipe(training={"stages": stages, "keep": "last"})
    fit(recipe, balls(), balls(2), tmp_path / "whole", Reporter())
    with pytest.raises(Cancelled):
        fit(recipe, balls(), balls(2), tmp_path / "parts", stopping_after(4))
    result = fit(recipe, balls(), balls(2), tmp_path / "parts", Reporter())
    files = [sorted((tmp_path / name / "stages").iterdir()) for name in ("whole", "parts")]
    assert [path.name for path in files[0]] == [f"stage-{number:08d}.safetensors" for number in expected]
    for one, other in zip(*files, strict=True):
        assert one.read_bytes() == other.read_bytes()
    last = read_tensors(files[0][-1])[0]
    same = all(torch.equal(last[name], result.state[name]) for name in last)
    assert same is (expected[-1] == 12), "twelve steps are the whole training"


def test_svcca_follows_the_layers_to_the_converged_network(tmp_path, capsys):
    training = {"epochs": 2, "keep": "last", "weight_average": 0.0, "stages": {"every": 4}}
    job = write_job(tmp_path, smallest_recipe(training=training))
    assert main(fit_arguments(job, tmp_path / "model")) == 0
    arguments = ["--stages", str(tmp_path / "model-training" / "stages"), "--output", str(tmp_path / "svcca")]
    case = ["--case", f"CT={tmp_path / '0.nrrd'}", "--progress", "none"]
    assert main(["svcca", "--model", str(tmp_path / "model"), *case, *arguments]) == 0, (
        capsys.readouterr().err
    )
    with (tmp_path / "svcca" / "svcca.csv").open(newline="") as file:
        head, *rows = list(csv.reader(file))
    assert head[1:] == ["stage-00000000", "stage-00000004", "stage-00000008"]
    values = np.array([row[1:] for row in rows], float)
    # The last stage is the model itself, but for the half precision of its package.
    assert np.nanmin(values[:, 2]) > 0.99
    assert np.nanmean(values[:, 0]) < np.nanmean(values[:, 1]) < np.nanmean(values[:, 2])


def test_a_recipe_with_strange_stages_is_refused(tmp_path, capsys):
    job = write_job(tmp_path, smallest_recipe())
    data = json.loads(job[0].read_text())
    data["training"]["stages"] = {"every": 0}
    job[0].write_text(json.dumps(data))
    assert main(fit_arguments(job, tmp_path / "model")) == 2
    assert "training.stages.every" in capsys.readouterr().err
