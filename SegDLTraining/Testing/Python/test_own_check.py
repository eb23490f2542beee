"""The check before a training on the user's cases: all faults at once, by name, before any preparation."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from SegDLEngine.errors import InputError
from SegDLEngine.images.reading import read_labels
from SegDLEngine.images.writing import write_image
from SegDLEngine.protocol import Reporter
from SegDLTrainingLib import own_check
from SegDLTrainingLib.command_line import main
from SegDLTrainingLib.own_check import check_own_cases
from SegDLTrainingLib.recipes import Recipe, load_recipe
from SegDLTrainingLib.user_cases import found_cases, split_of
from tiny_training import fit_arguments, smallest_recipe, write_job


@pytest.fixture
def job(tmp_path) -> tuple[Path, Path]:
    (tmp_path / "cases").mkdir()
    return write_job(tmp_path / "cases", smallest_recipe())


def recipe_of(job) -> Recipe:
    return load_recipe(job[0]).with_data(job[1])


def relabel(path: Path, value: int) -> None:
    labels = read_labels(path)
    write_image(labels.with_array(np.where(labels.array > 0, np.uint8(value), np.uint8(0))), path)


def test_all_bad_cases_are_named_before_anything_is_prepared(job, tmp_path, capsys):
    relabel(job[1].parent / "2-labels.nrrd", 3)
    (job[1].parent / "4.nrrd").write_bytes(b"no image")
    assert main(fit_arguments(job, tmp_path / "model")) == 2
    told = capsys.readouterr().err
    assert "case2: " in told and "case4: " in told and "data check" in told
    assert not list(tmp_path.rglob("labels.npy")) and not (tmp_path / "model").exists()


def test_sound_data_are_read_once_until_a_file_changes(job, tmp_path, monkeypatch):
    recipe, counted = recipe_of(job), []

    def counting(*arguments, **options):
        counted.append(1)
        return checked(*arguments, **options)

    checked = own_check.check_cases
    monkeypatch.setattr(own_check, "check_cases", counting)
    for _ in range(2):
        check_own_cases(recipe, tmp_path / "cache", 1, Reporter())
    assert len(counted) == 1
    relabel(job[1].parent / "1-labels.nrrd", 0)
    reporter = Reporter()
    check_own_cases(recipe, tmp_path / "cache", 1, reporter)
    assert len(counted) == 2
    assert [warning["code"] for warning in reporter.warnings] == ["empty-labels"]
    assert reporter.warnings[0]["text"].startswith("case1: ")


def test_a_copy_in_both_parts_is_refused(job, tmp_path):
    recipe = recipe_of(job)
    split = split_of(recipe, found_cases(recipe).cases)
    one, other = split.training[0], split.validation[0]
    folder = job[1].parent
    shutil.copyfile(folder / f"{one[4:]}.nrrd", folder / f"{other[4:]}.nrrd")
    with pytest.raises(InputError, match=r"are copies but in training and validation") as caught:
        check_own_cases(recipe, tmp_path / "cache", 1, Reporter())
    assert one in caught.value.text and other in caught.value.text
