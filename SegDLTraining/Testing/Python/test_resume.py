"""A training that was interrupted anywhere ends with the weights of one that was not, bit for bit."""

import errno
import json
import os
import shutil

import numpy as np
import pytest
import torch
from SegDLEngine.errors import Cancelled, InputError, SegDLError
from SegDLEngine.protocol import Reporter
from SegDLTrainingLib import checkpoint
from SegDLTrainingLib.checkpoint import CHECKPOINT_FILE
from SegDLTrainingLib.fit import FitResult, fit
from SegDLTrainingLib.recipes import Recipe
from SegDLTrainingLib.volumes import PreparedVolume
from tiny_training import balls, smallest_recipe

PHASES = [{}, {"training": {"epochs": 1, "trainable": ["head*"]}, "schedule": {"start": 0.02}}]


pytestmark = pytest.mark.usefixtures("one_thread")


def stopping_after(steps: int) -> Reporter:
    """A reporter that asks to stop once so many steps of the training are done."""
    seen = []

    def count(event):
        if event["event"] == "progress" and event["stage"] == "training":
            seen.append(event)

    return Reporter(count, lambda: len(seen) + 1 >= steps)


def whole(recipe: Recipe, folder) -> FitResult:
    return fit(recipe, balls(), balls(2), folder, Reporter())


def check_equal(one: FitResult, other: FitResult) -> None:
    assert all(torch.equal(one.state[name], other.state[name]) for name in one.state)
    assert len(one.state) == len(other.state)
    without_time = [
        [{key: value for key, value in row.items() if key != "seconds"} for row in result.history]
        for result in (one, other)
    ]
    assert without_time[0] == without_time[1]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> FitResult:
    return whole(smallest_recipe(), tmp_path_factory.mktemp("uninterrupted"))


@pytest.mark.parametrize("steps", [1, 4, 6, 11], ids=lambda steps: f"after step {steps}")
def test_a_stop_request_ends_after_the_step_and_is_continued(uninterrupted, tmp_path, steps):
    with pytest.raises(Cancelled, match=f"after step {steps} of 12"):
        fit(smallest_recipe(), balls(), balls(2), tmp_path, stopping_after(steps))
    events = []
    result = fit(smallest_recipe(), balls(), balls(2), tmp_path, Reporter(events.append))
    check_equal(uninterrupted, result)
    done = [event for event in events if event["event"] == "progress"]
    assert len(done) == 12 - steps, "no step is done twice"
    assert [event["step"] for event in done][-1] == 4 and done[-1]["epoch"] == 3


def test_stopped_after_every_single_step_and_moved_each_time(uninterrupted, tmp_path):
    for number in range(20):
        folder = tmp_path / str(number)
        try:
            result = fit(smallest_recipe(), balls(), balls(2), folder, stopping_after(1))
            break
        except Cancelled:
            shutil.move(folder, tmp_path / str(number + 1))
    check_equal(uninterrupted, result)
    assert number == 12


def test_a_finished_training_is_not_done_again(uninterrupted, tmp_path):
    whole(smallest_recipe(), tmp_path)
    events = []
    check_equal(uninterrupted, fit(smallest_recipe(), balls(), balls(2), tmp_path, Reporter(events.append)))
    assert not [event for event in events if event["event"] == "progress"]


@pytest.mark.parametrize(
    "changes",
    [
        {"phases": PHASES},
        {"optimiser": {"name": "penalised_sgd", "momentum_epochs": 2, "l1": 1e-4, "l2": 1e-4, "bound": 1.0}},
        {"schedule": {"name": "plateau", "patience": 1, "min_delta": 0.5}},
        {"training": {"accumulate": 2, "mixed_precision": "bfloat16", "keep": "last"}},
        {"sampling": {"mode": "patches", "patch": [16, 16], "foreground_share": 0.5}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_all_kinds_of_training_continue_exactly(tmp_path, changes):
    recipe = smallest_recipe(**changes)
    expected = whole(recipe, tmp_path / "whole")
    steps = sum(4 * phase["training"]["epochs"] for phase in recipe.phases)
    for stop in (3, steps - 5):
        with pytest.raises(Cancelled):
            fit(recipe, balls(), balls(2), tmp_path / "parts", stopping_after(stop))
    check_equal(expected, whole(recipe, tmp_path / "parts"))


def test_a_full_disk_is_one_readable_error_and_keeps_the_last_checkpoint(
    uninterrupted, tmp_path, monkeypatch
):
    with pytest.raises(Cancelled):
        fit(smallest_recipe(), balls(), balls(2), tmp_path, stopping_after(2))
    before = (tmp_path / CHECKPOINT_FILE).read_bytes()

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.os, "fsync", full)
        with pytest.raises(SegDLError, match=r"kept-00000004.*No space left.*Free space") as caught:
            whole(smallest_recipe(), tmp_path)
    assert caught.value.exit_code == 1
    assert (tmp_path / CHECKPOINT_FILE).read_bytes() == before
    assert not list(tmp_path.glob("*.partial"))
    check_equal(uninterrupted, whole(smallest_recipe(), tmp_path))


def test_a_loss_that_is_no_number_names_the_case_and_keeps_the_last_checkpoint(uninterrupted, tmp_path):
    with pytest.raises(Cancelled):
        fit(smallest_recipe(), balls(), balls(2), tmp_path, stopping_after(5))
    before = (tmp_path / CHECKPOINT_FILE).read_bytes()
    good = balls()
    broken = PreparedVolume(np.full_like(good[1].image, np.nan), good[1].labels, good[1].spacing, "1")
    with pytest.raises(SegDLError, match=r"loss is not a number in step \d+ \(cases: .*1") as caught:
        fit(smallest_recipe(), [good[0], broken, good[2]], balls(2), tmp_path, Reporter())
    assert caught.value.exit_code == 1
    assert (tmp_path / CHECKPOINT_FILE).read_bytes() == before
    check_equal(uninterrupted, whole(smallest_recipe(), tmp_path))


def test_weights_that_are_no_numbers_are_not_kept(tmp_path):
    """The loss of the only step is sound, what the step leaves is not."""
    diverging = smallest_recipe(
        loss={"name": "sum", "terms": [{"name": "dice", "weight": 1e6}]},
        schedule={"name": "constant", "start": 1e38},
        training={"epochs": 1, "steps_per_epoch": 1, "weight_average": 0.0, "gradient_clip": None},
        optimiser={"name": "sgd", "momentum": 0.0},
    )
    with pytest.raises(SegDLError, match=r"weights are no longer numbers after epoch 1.*") as caught:
        whole(diverging, tmp_path)
    assert caught.value.code == "not_a_number" and "learning rate" in caught.value.hint
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_broken_checkpoint_is_named(tmp_path):
    with pytest.raises(Cancelled):
        fit(smallest_recipe(), balls(), balls(2), tmp_path, stopping_after(1))
    path = tmp_path / CHECKPOINT_FILE
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=rf"{CHECKPOINT_FILE} cannot be read"):
        whole(smallest_recipe(), tmp_path)


def test_checkpoints_are_written_every_so_many_steps(tmp_path):
    recipe = smallest_recipe(training={"checkpoint_steps": 3})
    seen = []

    def look(event):
        if event["event"] == "progress":
            path = tmp_path / CHECKPOINT_FILE
            header = checkpoint.read_tensors(path)[1] if path.is_file() else {}
            facts = json.loads(header[checkpoint.HEADER]) if header else {"position": {"number": 0}}
            seen.append(facts["position"]["number"])

    fit(recipe, balls(), balls(2), tmp_path, Reporter(look))
    assert seen == [0, 0, 0, 3, 4, 4, 6, 6, 8, 9, 9, 9]


def test_nothing_but_the_newest_files_stays(tmp_path):
    result = whole(smallest_recipe(), tmp_path)
    kept = [name for name in os.listdir(tmp_path) if name.startswith("kept")]
    assert kept == [f"kept-{4 * (result.kept['epoch'] + 1):08d}.safetensors"]
