"""The figures of a validation from a network whose answers are known."""

from __future__ import annotations

import copy
import math
import tracemalloc

import numpy as np
import pytest
import torch
from SegDLEngine.networks.network import Network
from SegDLTrainingLib.losses.registry import build_loss
from SegDLTrainingLib.precision import Precision
from SegDLTrainingLib.processes import Processes
from SegDLTrainingLib.recipes import Recipe
from SegDLTrainingLib.validation import Validation, volume_dice
from SegDLTrainingLib.volumes import PreparedVolume
from tiny_training import smallest_recipe


class Echo(Network):
    """Its logits are the image's channels."""

    dimensions, divisible_by, receptive_field, dropout_layers = 3, 1, 1, ()

    def __init__(self, channels: int = 1):
        super().__init__()
        self.report_input = (channels, 4, 4, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images


def recipe(labels: int, activation: str, mode: str, **validation) -> Recipe:
    """Patches of 4 x 4 x 4, as large as the volumes."""
    data = copy.deepcopy(smallest_recipe().data)
    one = data["card"]["labels"][0]
    data["card"]["labels"] = [{**one, "value": 2 + n, "name": f"label {2 + n}"} for n in range(labels)]
    data["card"]["inference"] = {
        "mode": "windows", "patch": [4, 4, 4], "overlap": 0.0, "batch": 1, "activation": activation,
        "threshold": 0.5,
    }  # fmt: skip
    data["sampling"] = {"mode": "patches", "patch": [4, 4, 4], "batch": 1, "foreground_share": 0.0}
    data["training"]["validation"] = {"mode": mode, **validation}
    return Recipe(data)


def volume(logits: np.ndarray, labels: np.ndarray, name: str = "one") -> PreparedVolume:
    return PreparedVolume(logits.astype(np.float16), labels.astype(np.uint8), (1.0, 1.0, 1.0), name)


def judge(volumes, chosen: Recipe, epoch: int = 0, loss: dict | None = None) -> dict[str, float]:
    built = build_loss(loss or {"name": "cross_entropy"}, chosen.card["inference"]["activation"])
    validation = Validation(volumes, chosen, built, Precision("none", "cpu"), "cpu", Processes())
    return validation(Echo(len(volumes[0].image) if volumes else 1), epoch)


def half_found() -> PreparedVolume:
    """Label 2 in 32 of 64 voxels; found with a certainty of 0.8 in 16 of these and 8 others."""
    labels = np.zeros((4, 4, 4))
    labels[:2] = 2
    logits = np.full((1, 4, 4, 4), -math.log(4))
    logits[0, 0] = math.log(4)
    logits[0, 2, :2] = math.log(4)
    return volume(logits, labels)


def test_batches_give_loss_soft_and_hard_dice():
    row = judge([half_found()], recipe(1, "sigmoid", "batches", batches=2))
    assert row["dice label 2"] == row["validation_dice"] == pytest.approx(65 / 113)
    overlap, size = 16 * 0.8 + 16 * 0.2, 24 * 0.8 + 40 * 0.2 + 32
    assert row["validation_soft_dice"] == pytest.approx((2 * overlap + 1) / (size + 1), abs=1e-3)
    expected = -(40 * math.log(0.8) + 24 * math.log(0.2)) / 64
    assert row["validation_loss"] == pytest.approx(expected, abs=1e-3)


def test_the_loss_is_that_of_the_epoch():
    volumes, chosen = [half_found()], recipe(1, "sigmoid", "batches", batches=1)
    loss = {"name": "privileged_dice", "first": [1.0, 0.0], "after": [0.0, 1.0], "privileged_epochs": 3}
    early, late = (judge(volumes, chosen, epoch, loss)["validation_loss"] for epoch in (2, 3))
    assert late == pytest.approx(judge(volumes, chosen)["validation_loss"])
    assert early == pytest.approx(1 - judge(volumes, chosen)["validation_soft_dice"])


@pytest.mark.parametrize("mode", ["batches", "volumes"])
def test_with_softmax_the_likeliest_label_counts(mode):
    """One label is found where it is, the other in half of it, although less than half certain."""
    labels = np.zeros((4, 4, 4))
    labels[0], labels[1] = 2, 3
    logits = np.zeros((3, 4, 4, 4))
    logits[0] = 0.2
    logits[1, 0] = 3.0
    logits[2, 1, :2] = 0.4
    row = judge([volume(logits, labels)], recipe(2, "softmax", mode, batches=1))
    one = 1 if mode == "batches" else 0
    assert row["dice label 2"] == pytest.approx(1)
    assert row["dice label 3"] == pytest.approx((2 * 8 + one) / (8 + 16 + one))
    assert row["validation_dice"] == pytest.approx((1 + row["dice label 3"]) / 2)


def test_whole_volumes_count_alike_and_labels_that_are_nowhere_do_not_count():
    """Of two cases the Dice is averaged, not pooled; a false alarm counts as 0."""
    small, none, alarm = (np.zeros((4, 4, 4)) for _ in range(3))
    small[0, 0, 0] = 2
    certain = np.full((1, 4, 4, 4), -5.0)
    found = certain.copy()
    found[0, 0, 0, 0] = 5.0
    chosen = recipe(1, "sigmoid", "volumes")
    volumes = [half_found(), volume(found, small), volume(certain, none), volume(found, alarm)]
    row = judge(volumes, chosen)
    assert row == {
        "dice label 2": pytest.approx((2 * 16 / 56 + 1 + 0) / 3),
        "validation_dice": pytest.approx((2 * 16 / 56 + 1 + 0) / 3),
    }
    assert volume_dice(Echo(), volumes[2], chosen.card, "cpu") == {}


def test_a_label_is_found_from_one_half_on():
    labels = np.full((4, 4, 4), 2)
    for logit, dice in ((0.0, 1.0), (-0.05, 1 / 65)):
        row = judge(
            [volume(np.full((1, 4, 4, 4), logit), labels)], recipe(1, "sigmoid", "batches", batches=1)
        )
        assert row["validation_dice"] == pytest.approx(dice)


def test_without_cases_there_is_nothing_to_judge_by():
    assert judge([], recipe(1, "sigmoid", "batches", batches=4)) == {}


def test_batches_are_the_same_in_every_epoch_and_are_not_kept_in_memory():
    rng = np.random.default_rng(0)
    large = volume(rng.normal(0, 1, (1, 32, 32, 32)), rng.integers(0, 2, (32, 32, 32)) * 2)
    chosen = recipe(1, "sigmoid", "batches", batches=40)
    chosen["sampling"]["patch"] = [24, 24, 24]
    loss = build_loss({"name": "cross_entropy"}, "sigmoid")
    tracemalloc.start()
    validation = Validation([large], chosen, loss, Precision("none", "cpu"), "cpu", Processes())
    first = validation(Echo(), 0)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 10 * 24**3 * 5
    assert validation(Echo(), 7) == first
