"""The numbers that the reports give, in the recipes that repeat them (specification, sections (c) to (g))."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from SegDLTrainingLib.optimisers import build_optimiser
from SegDLTrainingLib.recipes import Recipe, list_recipes
from SegDLTrainingLib.schedules import build_schedule

RECIPES = {recipe["id"]: recipe for recipe in list_recipes()}


def step(recipe: Recipe, name: str) -> dict[str, Any]:
    """The constants of an augmentation of the recipe."""
    (found,) = [entry for entry in recipe["augmentation"] if entry["step"] == name]
    return {key: value for key, value in found.items() if key != "step"}


def steps(recipe: Recipe) -> list[str]:
    return [entry["step"] for entry in recipe["augmentation"]]


def rates(recipe: Recipe, epochs: list[int]) -> list[float]:
    return [build_schedule(recipe["schedule"])(epoch, ()) for epoch in epochs]


def optimiser(recipe: Recipe) -> dict[str, Any]:
    return recipe.data.get("optimiser", {"name": "adam"})


TABLES_OF_000 = {
    # filters, normalisation, batch, steps in an epoch, ratio, augmentations
    "000-table1-instance-norm": (24, "instance", 1, 179, [4, 1], True, None),
    "000-table1-batch-norm": (24, "batch", 1, 179, [4, 1], True, None),
    "000-table2-batch-norm-14": (14, "batch", 2, 90, [4, 1], False, None),
    "000-table3-14-b2-augmented": (14, "instance", 2, 90, [4, 1], True, None),
    "000-table3-16-b1": (16, "instance", 1, 179, [4, 1], False, None),
    "000-table3-15-b2": (15, "instance", 2, 90, [4, 1], False, None),
    "000-table3-14-b2": (14, "instance", 2, 90, [4, 1], False, None),
    "000-table3-2-b8": (2, "instance", 8, 23, [4, 1], False, None),
    "000-table4-noise-01": (24, "instance", 1, 192, [6, 1], True, 0.1),
    "000-table4-noise-001": (24, "instance", 1, 192, [6, 1], True, 0.01),
}


@pytest.mark.parametrize("name", TABLES_OF_000)
def test_rows_of_report_000(name):
    """An epoch is one pass over the training patients of 224: 179 of 4:1, 192 of 6:1."""
    filters, norm, batch, steps_per_epoch, ratio, augmented, noise = TABLES_OF_000[name]
    recipe = RECIPES[name]
    options = recipe.card["network"]["options"]
    assert (options["filters"], options.get("normalisation", "instance")) == (filters, norm)
    assert (recipe["sampling"]["batch"], recipe["training"]["steps_per_epoch"]) == (batch, steps_per_epoch)
    assert recipe["data"]["split"]["ratio"] == ratio
    names = ["plane_rotations", "mirroring"] if augmented else []
    assert steps(recipe) == names + (["noise"] if noise else [])
    if noise:
        assert step(recipe, "noise") == {"variance": noise}


@pytest.mark.parametrize("name", [name for name in RECIPES if name.startswith("000-")])
def test_every_training_of_report_000(name):
    """100 epochs, Adam (0.9, 0.99), 1e-3 to 1e-5 within 25 epochs; squared Dice plus focal loss."""
    recipe = RECIPES[name]
    assert recipe["training"]["epochs"] == 100
    assert "early_stopping" not in recipe["training"]
    assert optimiser(recipe) == {"name": "adam", "betas": [0.9, 0.99]}
    expected = [1e-3, 5.36081e-4, 4.73919e-4, 1.39032e-5, 1e-3]
    assert rates(recipe, [0, 12, 13, 24, 25]) == pytest.approx(expected, rel=1e-5)
    assert recipe["loss"]["name"] == "sum"
    assert recipe["loss"]["terms"] == [
        {"name": "dice", "per": "sample", "squared": True, "smooth": 1.0},
        {"name": "focal", "gamma": 2.0, "clamp": 0.001},
    ]
    assert recipe["sampling"]["patch"] == [144, 144, 144]
    for entry in recipe["augmentation"]:
        if entry["step"] == "plane_rotations":
            assert set(entry) <= {"step", "outside"}, "angles and chance are the step's own"
            assert entry["outside"] == [0.0, "minimum"], "CT 0 is water, PET 0 the least of a patch"


def test_report_001():
    recipe = RECIPES["001-lung-unet2d"]
    assert recipe["augmentation"] == {"shift": 0.1, "rotation_deg": 10, "zoom": 0.1, "mirror": 0.0}
    assert recipe.seed == 42
    assert recipe["sampling"]["batch"] == 8
    assert (recipe["training"]["epochs"], recipe["training"]["steps_per_epoch"]) == (10, 200)
    assert rates(recipe, [0, 1, 9]) == pytest.approx([1e-3, 8e-4, 1.342e-4], rel=1e-3)
    assert recipe["loss"]["name"] == "privileged_dice"
    assert recipe["loss"]["privileged_epochs"] == 50
    first, after = recipe["loss"]["first"], recipe["loss"]["after"]
    assert first[0] > first[1] and after[0] == after[1]
    assert recipe["data"]["split"]["ratio"] == [1, 1]
    assert RECIPES["001-lung-unet2d-small"]["loss"] == {"name": "cross_entropy"}


@pytest.mark.parametrize("name, epochs", [("002-hand-multiscale", 600), ("002-brain-multiscale", 50)])
def test_tasks_of_report_002(name, epochs):
    recipe = RECIPES[name]
    assert recipe["training"]["epochs"] == epochs
    assert recipe["training"]["monitor"] == "validation_loss"
    assert recipe["sampling"]["batch"] == 1
    assert optimiser(recipe) == {"name": "adam"}
    assert rates(recipe, [0, epochs - 1]) == [5e-5, 5e-5]
    assert recipe["loss"] == {"name": "jaccard", "form": "squares", "per": "label", "total": "sum"}
    assert steps(recipe) == ["flip_or_turn"]
    assert step(recipe, "flip_or_turn") == {"outside": "minimum"}
    counts = {"002-hand-multiscale": [20, 5, 5], "002-brain-multiscale": [220, 27, 27]}[name]
    assert recipe["data"]["split"]["counts"] == counts
    patch = {"002-hand-multiscale": [120, 120, 64], "002-brain-multiscale": [144, 160, 128]}[name]
    assert recipe["sampling"]["patch"] == patch


def test_cross_entropy_differs_from_the_jaccard_loss_by_the_loss_alone():
    for task in ("hand", "brain"):
        one, other = RECIPES[f"002-{task}-multiscale"].data, RECIPES[f"002-{task}-cross-entropy"].data
        assert other["loss"] == {"name": "cross_entropy"}
        for key in ("sampling", "augmentation", "optimiser", "schedule", "training"):
            assert one[key] == other[key]


@pytest.mark.parametrize("name, own", [("002-brain-two-path", ""), ("002-brain-input-cascade", "second.")])
def test_two_phases_of_havaei(name, own):
    """Equally likely labels, then the output layer at natural frequencies; what it starts from."""
    first, second = RECIPES[name].phases
    assert optimiser(first)["momentum"] == [0.5, 0.9]
    assert optimiser(first)["momentum_epochs"] == first["training"]["epochs"], "0.9 is reached"
    assert min(optimiser(first)[key] for key in ("l1", "l2", "bound")) > 0
    assert rates(first, [0, 1, 2]) == pytest.approx([5e-3, 5e-4, 5e-5])
    assert first["training"]["output_bias"] == f"{own}output.bias"
    assert first["sampling"]["foreground_share"] == 1.0
    assert first["sampling"]["labels"] == [0, 1, 2, 3, 4]
    assert second["sampling"]["foreground_share"] == 0.0
    assert second["training"]["trainable"] == [f"{own}output.*"]
    if own:
        assert first["training"]["trainable"] == ["second.*"], "the first network stays as it is"
        assert RECIPES[name]["transfer"] == {"into": "first"}


@pytest.mark.parametrize("small, name", [(False, "003-unet-scratch-40-10"), (True, "003-unet-scratch-10-40")])
def test_report_003(small, name):
    recipe = RECIPES[name]
    split = recipe["data"]["split"]
    assert (split["test"], split["folds"], split["small_training"]) == (20, 5, small)
    expected = [2e-4, 1.6e-4, 8.192e-5, 2.14748e-5, 2.88230e-6]
    assert rates(recipe, [0, 25, 100, 250, 475]) == pytest.approx(expected, rel=1e-5)
    assert optimiser(recipe) == {"name": "adam"}
    assert recipe["training"]["epochs"] == 500
    assert recipe["training"]["early_stopping"]["patience"] == 30
    assert recipe["training"]["keep"] == "best"
    assert steps(recipe) == ["elastic", "gamma", "noise"]
    assert step(recipe, "elastic") == {"rotation_deg": 3.0}
    assert step(recipe, "gamma") == {"low": 0.8, "high": 1.25}
    assert step(recipe, "noise") == {"variance": pytest.approx(0.05**2)}
    assert recipe["training"]["mixup"] == 0.4


def test_restoration_of_report_003():
    recipe = RECIPES["003-genesis-restoration"]
    assert optimiser(recipe) == {"name": "sgd", "momentum": 0.9}
    assert rates(recipe, [0, 39, 40, 80]) == [1.0, 1.0, 0.5, 0.25]
    assert (recipe["sampling"]["batch"], recipe["sampling"]["patch"]) == (6, [64, 64, 32])
    assert recipe["training"]["early_stopping"] == {"patience": 50, "metric": "validation_loss"}
    assert recipe["loss"] == {"name": "mean_squared_error"}
    assert recipe["restoration"] == {
        "flip": 0.4, "shuffling": 0.5, "intensity": 0.9, "painting": 0.9, "inpainting": 0.2,
        "blocks": 10000, "another": 0.95,
    }  # fmt: skip


def test_semi_supervised_training_of_report_003():
    entry = RECIPES["003-semi-supervised"]["semi_supervised"]
    expected = {
        "patch": 68, "padded": 72, "dictionary": 120, "queries": 32, "dictionary_margin": 10,
        "query_margin": 15, "rule": "best", "lowest": 0.87, "highest": 0.96, "teacher_decay": 0.99,
        "ramp_up_epochs": 5,
    }  # fmt: skip
    assert {key: entry[key] for key in expected} == expected


def test_report_004():
    recipe = RECIPES["004-res-unet2d"]
    assert recipe.seed == 2023
    assert recipe["sampling"]["batch"] == 64
    assert recipe["sampling"]["patch"] == [64, 64]
    assert optimiser(recipe) == {"name": "adam"}
    assert recipe["loss"] == {"name": "focal_log_dice"}
    assert recipe["augmentation"] == [
        {"step": name} for name in ("batch_noise", "batch_flip", "batch_patches")
    ]
    training = recipe["training"]
    assert training["epochs"] == 40
    assert training["monitor"] == "validation_loss"
    assert training["early_stopping"] == {"patience": 5, "metric": "validation_loss"}
    assert training["mixed_precision"] == "none", "the report trained in full precision"
    schedule = build_schedule(recipe["schedule"])
    curve = [{"validation_loss": value} for value in [0.5, 0.4, *[0.4] * 8]]
    assert [schedule(0, curve[:length]) for length in (0, 4, 10)] == pytest.approx([1e-2, 5e-3, 6.25e-4])
    assert recipe["data"]["split"]["ratio"] == [8, 1, 1]


@pytest.mark.parametrize("name", RECIPES)
def test_mixup_goes_without_weight_decay(name):
    recipe = RECIPES[name]
    if recipe["training"].get("mixup"):
        parameters = [torch.nn.Parameter(torch.zeros(1))]
        groups = build_optimiser(parameters, optimiser(recipe)).param_groups
        assert all(group["weight_decay"] == 0 for group in groups)
