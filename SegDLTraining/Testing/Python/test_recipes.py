"""All shipped recipes: the schema, and that everything they name exists and fits together."""

from __future__ import annotations

import functools
import json

import pytest
import torch
from SegDLEngine.errors import InputError
from SegDLEngine.networks.registry import build_empty
from SegDLEngine.preprocessing.registry import check_steps
from SegDLTrainingLib.augmentation.registry import build_augmentation
from SegDLTrainingLib.data.splits import METHODS
from SegDLTrainingLib.losses.registry import build_loss
from SegDLTrainingLib.optimisers import build_optimiser
from SegDLTrainingLib.recipes import Recipe, list_recipes, load_recipe
from SegDLTrainingLib.schedules import build_schedule
from SegDLTrainingLib.sources import SOURCES
from SegDLTrainingLib.trainable import choose_trainable

RECIPES = {recipe["id"]: recipe for recipe in list_recipes()}
# Experiments of the reports, by the specification's tables.
EXPERIMENTS = {
    "000": [
        "000-table1-instance-norm", "000-table1-batch-norm", "000-table2-batch-norm-14", "000-table3-16-b1",
        "000-table3-14-b2-augmented", "000-table3-15-b2", "000-table3-14-b2", "000-table3-2-b8",
        "000-table4-noise-01", "000-table4-noise-001", "000-table5-m1", "000-table5-m2", "000-table5-m3",
        "000-table5-m4", "000-leave-one-centre-out", "000-baseline-unet3d",
    ],
    "001": ["001-lung-unet2d", "001-lung-unet2d-small"],
    "002": [
        "002-hand-multiscale", "002-hand-cross-entropy", "002-hand-no-long-skips", "002-hand-one-map",
        "002-hand-sum-skips", "002-brain-multiscale", "002-brain-flair", "002-brain-t1", "002-brain-t1c",
        "002-brain-t2", "002-brain-flair-t1c", "002-brain-flair-t1c-t2", "002-brain-two-path",
        "002-brain-input-cascade", "002-brain-unet2d", "002-brain-unet3d-69k",
    ],
    "003": [
        "003-unet-scratch-10-40", "003-unet-scratch-40-10", "003-unet-decoder-10-40",
        "003-unet-decoder-40-10", "003-unet-all", "003-attention-scratch", "003-attention-decoder",
        "003-attention-all", "003-genesis-restoration", "003-pretrain-lung-tumour", "003-semi-supervised",
    ],
    "004": ["004-res-unet2d"],
}  # fmt: skip


@functools.cache
def _network(entry: str) -> torch.nn.Module:
    network = json.loads(entry)
    return build_empty(network["name"], network["options"], "meta")


def _network_of(recipe: Recipe) -> torch.nn.Module:
    return _network(json.dumps(recipe.card["network"], sort_keys=True))


def _card_channels(recipe: Recipe) -> int:
    context = recipe.card["inference"].get("context", [0])
    return len(recipe.card["inputs"]) * len(context)


@pytest.mark.parametrize("report", EXPERIMENTS)
def test_every_experiment_of_the_report_has_a_recipe(report):
    for name in EXPERIMENTS[report]:
        assert RECIPES[name]["report"] == report, name


@pytest.mark.parametrize("name", RECIPES)
def test_file_name_and_id_agree_and_what_it_names_exists(name):
    recipe = load_recipe(name)
    assert recipe["id"] == name
    assert recipe["data"]["source"] in SOURCES
    if "split" in recipe["data"]:
        assert recipe["data"]["split"]["method"] in METHODS
    check_steps(recipe.card["preprocessing"])
    for phase in recipe.phases:
        build_loss(phase["loss"], phase.card["inference"]["activation"])
        build_schedule(phase["schedule"])
        build_augmentation(phase["augmentation"])


@pytest.mark.parametrize("name", RECIPES)
def test_the_network_takes_the_card_s_channels_and_the_patch(name):
    recipe = RECIPES[name]
    network = _network_of(recipe)
    assert network.report_input[0] == _card_channels(recipe)
    sampling = recipe["sampling"]
    sides = (sampling.get("patch") or sampling["size"])[::-1]
    assert len(sides) == network.dimensions
    for side in sides:
        assert side % network.divisible_by == network.remainder % network.divisible_by
        assert side > 2 * network.margin
    classes = len(recipe.card["labels"]) + (recipe.card["inference"]["activation"] == "softmax")
    if not network.receptive_field > 400:
        images = torch.zeros(2, network.report_input[0], *sides, device="meta")
        assert network(images).shape[1] == classes


@pytest.mark.parametrize("name", RECIPES)
def test_what_is_trainable_is_part_of_the_network_and_has_an_optimiser(name):
    for phase in RECIPES[name].phases:
        network = _network_of(phase)
        choose_trainable(network, phase["training"].get("trainable", ["*"]))
        chosen = [parameter for parameter in network.parameters() if parameter.requires_grad]
        build_optimiser(chosen, phase.data.get("optimiser", {}))
        fresh = phase.data.get("transfer", {}).get("fresh", [])
        assert set(fresh) <= {module for module, _ in network.named_modules()}


def test_a_batch_norm_recipe_differs_from_its_base_in_one_option_only():
    base, changed = RECIPES["000-table1-instance-norm"].data, RECIPES["000-table1-batch-norm"].data
    same = {key for key in base if base[key] == changed.get(key)}
    assert set(base) - same == {"id", "title", "card", "published"}
    assert changed["card"]["network"]["options"] == {"filters": 24, "normalisation": "batch"}


def test_a_table_that_replaces_is_not_merged():
    assert RECIPES["002-brain-cross-entropy"]["loss"] == {"name": "cross_entropy"}


def _written(tmp_path, **changes) -> str:
    data = json.loads(json.dumps(RECIPES["lung-tumor-unet2d"].data))
    path = tmp_path / "own.json"
    path.write_text(json.dumps({**data, **changes}))
    return str(path)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"seed": -1}, "seed"),
        ({"traning": {}}, "traning"),
        ({"training": {"epochs": 0, "steps_per_epoch": 1, "keep": "best"}}, "epochs"),
        ({"card": {"from": "no-such-model"}}, "no-such-model"),
        (
            {"training": {"epochs": 2, "steps_per_epoch": 1, "keep": "best", "gradiant_clip": 1}},
            "gradiant_clip",
        ),
    ],
)
def test_a_wrong_recipe_is_refused_with_the_field(tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        load_recipe(_written(tmp_path, **changes))
