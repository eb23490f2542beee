"""Every row of the reports' tables has a recipe with the network, division and figure of that row.

Constants of augmentation, loss and schedule are in ``test_recipes_of_reports``.
"""

from __future__ import annotations

import pytest
from SegDLEngine.networks.registry import build_empty
from SegDLTrainingLib.recipes import list_recipes

RECIPES = {recipe["id"]: recipe for recipe in list_recipes()}

# Report 000: id, trainable parameters, split, tables, DSC.
HEAD_NECK = [
    ("000-table1-instance-norm", 21_751_681, [4, 1], [1, 3], 0.729),
    ("000-table1-batch-norm", 21_751_681, [4, 1], [1, 2], 0.490),
    ("000-table2-batch-norm-14", 7_409_361, [4, 1], [2], 0.685),
    ("000-table3-14-b2-augmented", 7_409_361, [4, 1], [3], 0.729),
    ("000-table3-16-b1", 9_674_497, [4, 1], [3], 0.702),
    ("000-table3-15-b2", 8_503_973, [4, 1], [3], 0.708),
    ("000-table3-14-b2", 7_409_361, [4, 1], [3], 0.718),
    ("000-table3-2-b8", 153_469, [4, 1], [3], 0.639),
    ("000-table4-noise-01", 21_751_681, [6, 1], [4], 0.695),
    ("000-table4-noise-001", 21_751_681, [6, 1], [4], 0.696),
    ("000-table5-m1", 6_126_341, [6, 1], [5], 0.580),
    ("000-table5-m2", 14_471_953, [6, 1], [5], 0.688),
    ("000-table5-m3", 10_872_017, [6, 1], [5], 0.716),
    ("000-table5-m4", 11_943_697, [6, 1], [5], 0.716),
]
# Report 002, task 2: id, inputs, Dice of labels 1 to 4.
MODALITIES = [
    ("002-brain-flair", ["FLAIR"], [0.19, 0.74, 0.28, 0.36]),
    ("002-brain-t1", ["T1"], [0.27, 0.56, 0.26, 0.40]),
    ("002-brain-t1c", ["T1c"], [0.47, 0.61, 0.38, 0.74]),
    ("002-brain-t2", ["T2"], [0.34, 0.69, 0.29, 0.45]),
    ("002-brain-flair-t1c", ["FLAIR", "T1c"], [0.47, 0.81, 0.47, 0.78]),
    ("002-brain-flair-t1c-t2", ["FLAIR", "T1c", "T2"], [0.55, 0.82, 0.49, 0.80]),
    ("002-brain-multiscale", ["FLAIR", "T1", "T1c", "T2"], [0.49, 0.84, 0.50, 0.80]),
]
# Report 003, table 5.1: id, small training, what starts anew, Dice by part.
COVID = [
    ("003-unet-scratch-10-40", True, None, {"train": 0.9894, "validation": 0.7012, "test": 0.6893}),
    ("003-unet-scratch-40-10", False, None, {"train": 0.9705, "validation": 0.8119, "test": 0.8012}),
    ("003-unet-decoder-10-40", True, ["out_tr"], {"train": 0.9771, "validation": 0.7963}),
    ("003-unet-decoder-40-10", False, ["out_tr"], {"train": 0.9693}),
    ("003-unet-all-10-40", True, ["out_tr", "up_tr64"], {"train": 0.9802}),
    ("003-unet-all-40-10", False, ["out_tr", "up_tr64"], {"train": 0.9562}),
    ("003-attention-scratch-10-40", True, None, {"train": 0.9904}),
    ("003-attention-scratch-40-10", False, None, {"train": 0.9710}),
    ("003-attention-decoder-10-40", True, ["output"], {"train": 0.9521}),
    ("003-attention-decoder-40-10", False, ["output"], {"train": 0.9512}),
    ("003-attention-all-10-40", True, ["output", "maps", "decoder.3"], {"train": 0.9608}),
    ("003-attention-all-40-10", False, ["output", "maps", "decoder.3"], {"train": 0.9611}),
]


def parameters(name: str) -> int:
    network = RECIPES[name].card["network"]
    built = build_empty(network["name"], network["options"], "meta")
    return sum(parameter.numel() for parameter in built.parameters())


@pytest.mark.parametrize("name, count, ratio, tables, dice", HEAD_NECK)
def test_report_000_tables_1_to_5(name, count, ratio, tables, dice):
    recipe = RECIPES[name]
    assert parameters(name) == count
    assert recipe["data"]["split"] == {"method": "hold-out", "ratio": ratio}
    training = round(224 * ratio[0] / sum(ratio))
    assert recipe["training"]["steps_per_epoch"] == -(-training // recipe["sampling"]["batch"])
    assert recipe["sampling"]["patch"] == [144, 144, 144]
    assert [entry["table"] for entry in recipe.published] == [f"report 000, table {each}" for each in tables]
    assert {entry["value"] for entry in recipe.published} == {dice}
    assert {(entry["column"], entry["metric"]) for entry in recipe.published} == {("validation", "dice")}


def test_report_000_every_centre_is_left_out_once():
    assert RECIPES["000-leave-one-centre-out"]["data"]["split"] == {"method": "leave-one-centre-out"}


def test_report_001():
    assert parameters("001-lung-unet2d") == 31_031_685 and parameters("001-lung-unet2d-small") == 23_017
    (published,) = RECIPES["001-lung-unet2d"].published
    assert (published["value"], published["metric"]) == (0.821, "median_dice")


@pytest.mark.parametrize("name, inputs, dices", MODALITIES)
def test_report_002_task_2_by_modalities(name, inputs, dices):
    recipe = RECIPES[name]
    assert [entry["name"] for entry in recipe.card["inputs"]] == inputs
    assert [label["value"] for label in recipe.card["labels"]] == [1, 2, 3, 4]
    names = [label["name"] for label in recipe.card["labels"]]
    (published,) = recipe.published
    assert published["value"] == dict(zip(names, dices, strict=True))
    assert (published["column"], published["metric"]) == ("test", "soft_dice")
    split = {"method": "counts", "counts": [220, 27, 27], "fewer": "in proportion"}
    assert recipe["data"]["split"] == split


@pytest.mark.parametrize("task, counts", [("hand", [20, 5, 5]), ("brain", [220, 27, 27])])
def test_report_002_ablations_differ_in_one_thing(task, counts):
    base = RECIPES[f"002-{task}-multiscale"]
    assert base["data"]["split"]["counts"] == counts
    assert RECIPES[f"002-{task}-cross-entropy"]["loss"] == {"name": "cross_entropy"}
    mine = base.card["network"]["options"]
    for name, change in (("no-long-skips", {"skips": None}), ("one-map", {"maps": 1}),
                         ("sum-skips", {"skips": "sum"})):  # fmt: skip
        assert RECIPES[f"002-{task}-{name}"].card["network"]["options"] == {**mine, **change}


def test_report_002_folds_and_other_networks():
    six = {"method": "k-fold", "folds": 6}
    assert RECIPES["002-hand-six-folds"]["data"]["split"] == RECIPES["002-hand-sum-skips"]["data"]["split"]
    assert RECIPES["002-hand-six-folds"]["data"]["split"] == six
    assert RECIPES["002-brain-five-folds"]["data"]["split"] == {"method": "k-fold", "folds": 5}
    assert parameters("002-brain-multiscale") == 410_072 and parameters("002-brain-unet3d-69k") == 68_891
    for name, side in (("002-brain-unet3d-69k", 96), ("002-brain-unet3d-69k-32", 32)):
        assert RECIPES[name]["sampling"]["patch"] == [side] * 3
        assert RECIPES[name].card["preprocessing"][-1] == {"step": "resize", "size": [side] * 3}
    for name, dices in (("input-cascade", [0.88, 0.79, 0.73]), ("two-path", [0.85, 0.78, 0.73])):
        (published,) = RECIPES[f"002-brain-{name}"].published
        assert list(published["value"].values()) == dices
        regions = {"complete": [1, 2, 3, 4], "core": [1, 3, 4], "enhancing": [4]}
        assert published["regions"] == regions


@pytest.mark.parametrize("name, small, fresh, figures", COVID)
def test_report_003_table_5_1(name, small, fresh, figures):
    recipe = RECIPES[name]
    (published,) = recipe.published
    assert published["value"] == figures and published["metric"] == "dice"
    split = {"method": "test-and-folds", "test": 20, "of": 70, "folds": 5, "small_training": small}
    assert recipe["data"]["split"] == split
    assert recipe.data.get("transfer", {}).get("fresh") == fresh
    assert ("trainable" in recipe["training"]) == ("-decoder-" in name)
    wanted = "attention_unet2d" if "attention" in name else "genesis_unet2d"
    assert recipe.card["network"]["name"] == wanted


def test_report_003_has_recipes_for_what_its_fine_tuning_starts_from():
    for start, tuned in (
        ("003-pretrain-lung-tumour", "003-unet-all-40-10"),
        ("003-pretrain-lung-tumour-attention", "003-attention-all-40-10"),
    ):
        assert RECIPES[start].card["network"] == RECIPES[tuned].card["network"]
    best = RECIPES["003-best"].published[0]["value"]
    assert best == {"train": 0.990321, "validation": 0.803601, "test": 0.799356}


def test_report_004():
    recipe = RECIPES["004-res-unet2d"]
    (published,) = recipe.published
    assert published["value"] == {"train": 0.889, "validation": 0.889, "test": 0.785}
    assert published["metric"] == "soft_dice_batch"
    # 8000 and 960 slices of an epoch, in full precision.
    assert parameters("004-res-unet2d") == 6_854_609
    assert recipe["training"]["steps_per_epoch"] * recipe["sampling"]["batch"] == 8000
    assert recipe["training"]["validation"]["batches"] * recipe["sampling"]["batch"] == 960
    assert recipe["training"]["mixed_precision"] == "none"


def test_report_003_semi_supervised_by_both_rules():
    best, two = (RECIPES[f"003-semi-supervised{name}"]["semi_supervised"] for name in ("", "-two-best"))
    assert (best["rule"], best["lowest"], best["highest"]) == ("best", 0.87, 0.96)
    assert (best["dictionary"], best["queries"], best["patch"]) == (120, 32, 68)
    assert (best["dictionary_margin"], best["query_margin"]) == (10, 15)
    assert two == {**best, "rule": "two best", "lowest": 0.9, "highest": 1.0}
