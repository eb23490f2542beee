"""What a user gets wrong is one readable line with exit code 2, before anything is trained or written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from SegDLTrainingLib.command_line import main
from tiny_training import smallest_recipe, write_job

HEAD, ROW = "case,CT,labels\n", "one,0.nrrd,0-labels.nrrd\n"
UNLABELLED = "".join(f"{number},{number}.nrrd,\n" for number in range(5))


@pytest.fixture(scope="module")
def job(tmp_path_factory) -> tuple[Path, Path]:
    return write_job(tmp_path_factory.mktemp("cases"), smallest_recipe(training={"epochs": 2}))


def refused(capsys, *arguments: str) -> str:
    assert main([*arguments, "--workers", "1"]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("segdl-train: ")]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("full", "is not a model package, so none is written over it. Choose another folder."),
        ("a-file", "is not a model package"),
        ("a-file/model", "takes no files: Not a directory"),
    ],
)
def test_an_output_that_cannot_become_a_package_is_refused_at_once(job, tmp_path, capsys, output, expected):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    (tmp_path / "a-file").write_text("mine")
    arguments = ["fit", "--recipe", str(job[0]), "--data", str(job[1])]
    assert expected in refused(capsys, *arguments, "--output", str(tmp_path / output))
    assert sorted(os.listdir(tmp_path)) == ["a-file", "full"]


@pytest.mark.parametrize(
    ("output", "expected"), [("full", "ensemble is not a model package"), ("a-file", "Not a directory")]
)
def test_folds_whose_ensemble_could_not_be_written_are_not_trained(job, tmp_path, capsys, output, expected):
    (tmp_path / "full" / "ensemble").mkdir(parents=True)
    (tmp_path / "full" / "ensemble" / "thesis.txt").write_text("mine")
    (tmp_path / "a-file").write_text("mine")
    arguments = ["cross-validate", "--recipe", str(job[0]), "--data", str(job[1]), "--folds", "2"]
    assert expected in refused(capsys, *arguments, "--output", str(tmp_path / output))
    assert os.listdir(tmp_path / "full") == ["ensemble"]


@pytest.mark.skipif(os.name == "nt" or os.getuid() == 0, reason="the system lets this user write everywhere")
def test_a_folder_without_permission_to_write_is_refused_at_once(job, tmp_path, capsys):
    (tmp_path / "closed").mkdir(mode=0o500)
    arguments = ["fit", "--recipe", str(job[0]), "--data", str(job[1])]
    told = refused(capsys, *arguments, "--output", str(tmp_path / "closed" / "model"))
    assert "Permission denied" in told


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ("001-lung-unet2", "There is no recipe '001-lung-unet2'. Perhaps 001-lung-unet2d or "),
        ("nothing like it", "'nothing like it'. segdl-train recipes lists the shipped ones"),
        ("broken.json", "broken.json cannot be read: Expecting value: line 1 column 12"),
    ],
)
def test_a_recipe_that_is_not_there_or_is_broken(job, tmp_path, capsys, recipe, expected):
    (tmp_path / "broken.json").write_text('{"schema": ')
    named = str(tmp_path / recipe) if recipe.endswith(".json") else recipe
    output = tmp_path / "model"
    told = refused(capsys, "fit", "--recipe", named, "--data", str(job[1]), "--output", str(output))
    assert expected in told and sorted(os.listdir(tmp_path)) == ["broken.json"]


def test_weights_are_not_written_over_a_folder(tmp_path, capsys):
    (tmp_path / "start.safetensors").mkdir()
    arguments = ["pretrain", "--recipe", "003-genesis-restoration-thoraxes", "--output"]
    assert "is a folder" in refused(capsys, *arguments, str(tmp_path / "start.safetensors"))


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (["--device", "gpu"], "The device 'gpu' is unknown. Use --device auto, cpu or cuda:0."),
        (["--device", "cuda:99"], "The device 'cuda:99' is not there: PyTorch finds"),
        (["--threads", "-1"], "--threads -1 is less than 0"),
        (["--epochs", "0"], "--epochs 0 is less than 1"),
        (["--fold", "seventh"], "There is no split 'seventh'. The splits are"),
        (["--start-from", "lung-tumor-unet2d"], "is an ensemble of 2 networks"),
        (["--start-from", "nothing.safetensors"], "nothing.safetensors cannot be read: No such file"),
    ],
)
def test_options_are_refused_by_name(job, tmp_path, capsys, option, expected):
    arguments = ["fit", "--recipe", str(job[0]), "--data", str(job[1]), "--output", str(tmp_path / "model")]
    assert expected in refused(capsys, *arguments, *option)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("empty.csv", "", "has no cases"),
        ("head.csv", HEAD, "has no cases"),
        ("columns.csv", HEAD.replace("CT", "MR") + ROW, "unknown column 'MR'"),
        ("labels.csv", HEAD + UNLABELLED, "The labels are missing. segdl-train data check tells more."),
        ("broken.json", '{"schema": "segdl-cases-1", "cases": [', "not valid JSON"),
        ("missing.csv", HEAD + ROW.replace("0.nrrd", "9.nrrd"), "9.nrrd"),
    ],
)
def test_a_manifest_that_is_no_use_is_named(job, tmp_path, capsys, name, text, expected):
    manifest = job[1].parent / name
    manifest.write_text(text)
    output = tmp_path / "model"
    told = refused(capsys, "fit", "--recipe", str(job[0]), "--data", str(manifest), "--output", str(output))
    assert expected in told and "And ." not in told
    assert not list(tmp_path.iterdir())


def test_a_folder_without_cases_and_one_that_is_not_there(job, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    arguments = ["fit", "--recipe", str(job[0]), "--output", str(tmp_path / "model"), "--data"]
    assert "empty' is none that is known" in refused(capsys, *arguments, str(tmp_path / "empty"))
    assert "do not exist" in refused(capsys, *arguments, str(tmp_path / "nowhere"))


def test_one_case_is_trained_on_and_what_that_means_is_told(job, tmp_path, capsys):
    manifest = job[1].parent / "one.csv"
    manifest.write_text(HEAD + ROW)
    before = torch.get_num_threads()
    arguments = ["fit", "--recipe", str(job[0]), "--data", str(manifest), "--output", str(tmp_path / "model")]
    assert main([*arguments, "--threads", "1", "--workers", "1"]) == 0
    torch.set_num_threads(before)
    told = capsys.readouterr()
    assert "no cases for validation" in told.err and "Not measured" in told.out
    training = json.loads((tmp_path / "model" / "model.json").read_text())["training"]
    assert training["kept_epoch"] == training["epochs"] == 2


def test_the_last_lines_say_where_the_model_is_how_good_and_what_to_do(job, tmp_path, capsys):
    before = torch.get_num_threads()
    output = tmp_path / "model"
    arguments = ["fit", "--recipe", str(job[0]), "--data", str(job[1]), "--output", str(output)]
    for told in ("epoch 2: loss", "This training is finished, all 8 steps of it."):
        assert main([*arguments, "--threads", "1", "--workers", "1"]) == 0
        said = capsys.readouterr()
        assert told in said.err
        training = json.loads((output / "model.json").read_text())["training"]
        dice = training["validation"]["Lung tumour"]["dice_mean"]
        assert said.out.splitlines()[:2] == [
            f"Model: {output} (weights of epoch {training['kept_epoch']} of 2)",
            f"Lung tumour: Dice {dice:.4f}, mean of 1 validation case",
        ]
        assert f"segdl models install {output}" in said.out and "--input CT=IMAGE" in said.out
    torch.set_num_threads(before)
