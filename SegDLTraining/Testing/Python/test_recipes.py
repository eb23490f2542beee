"""All shipped recipes: the schema, and that everything they name exists and fits together."""

from __future__ import annotations

import json

import pytest
from SegDLEngine.errors import InputError, SegDLError
from SegDLTrainingLib.command_line import main
from SegDLTrainingLib.recipe_check import check_recipe
from SegDLTrainingLib.recipes import list_recipes, load_recipe

RECIPES = {recipe["id"]: recipe for recipe in list_recipes()}


@pytest.mark.parametrize("name", RECIPES)
def test_file_name_and_id_agree_and_what_it_names_exists_and_fits(name):
    assert load_recipe(name)["id"] == name
    check_recipe(RECIPES[name])


def test_every_recipe_of_a_report_says_what_was_chosen():
    for name, recipe in RECIPES.items():
        if name[:3].isdigit():
            assert recipe["choices"] and recipe["report"] == name[:3], name


def test_a_batch_norm_recipe_differs_from_its_base_in_one_option_only():
    base, changed = RECIPES["000-table1-instance-norm"].data, RECIPES["000-table1-batch-norm"].data
    same = {key for key in base if base[key] == changed.get(key)}
    assert set(base) - same == {"id", "title", "card", "published", "choices"}
    assert changed["card"]["network"]["options"] == {"filters": 24, "normalisation": "batch"}


def test_a_table_that_replaces_is_not_merged():
    assert RECIPES["002-brain-cross-entropy"]["loss"] == {"name": "cross_entropy"}


def test_figures_of_the_base_do_not_stand_beside_another_experiment():
    assert RECIPES["003-unet-decoder-40-10"].published[0]["value"] == {"train": 0.9693}
    assert RECIPES["003-semi-supervised"].published == []


def _written(folder, changes, base="000-table3-16-b1") -> str:
    path = folder / "own.json"
    path.write_text(
        json.dumps({"schema": "segdl-recipe-1", "id": "own", "title": "Own", "extends": base, **changes})
    )
    return str(path)


def test_a_recipe_extends_a_file_beside_it(tmp_path, monkeypatch):
    _written(tmp_path, {"seed": 7})
    (tmp_path / "other.json").write_text(
        json.dumps({"schema": "segdl-recipe-1", "id": "other", "title": "Other", "extends": "own.json"})
    )
    monkeypatch.chdir("/")
    assert load_recipe(tmp_path / "other.json").seed == 7


def test_a_recipe_that_leads_back_to_itself_is_refused(tmp_path):
    with pytest.raises(InputError, match="leads back to itself"):
        load_recipe(_written(tmp_path, {}, "own.json"))


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"seed": -1}, "seed: -1 is less than 0"),
        ({"traning": {}}, "'traning' is unknown, perhaps 'training' is meant; known: .*training"),
        ({"training": {"epochs": 0}}, "training.epochs: 0 is less than 1"),
        ({"training": {"epochs": "5"}}, 'training.epochs: "5" is not a whole number'),
        ({"training": {"gradiant_clip": 1}}, "training: 'gradiant_clip'.*'gradient_clip' is meant"),
        ({"sampling": {"forground_share": 1}}, "sampling: 'forground_share'.*'foreground_share'"),
        ({"sampling": {"replace": True, "batch": 1, "mode": "patches"}}, "sampling: 'patch' is missing"),
        ({"data": {"split": {"method": "holdout"}}}, 'data.split.method: "holdout" is none of "hold-out"'),
        ({"data": {"splitt": {}}}, "data: 'splitt' is unknown, perhaps 'split' is meant"),
        ({"published": {"table": "t"}}, "published: 'row' is missing"),
        ({"augmentation": [{"stp": "noise"}]}, "augmentation.0: 'step' is missing"),
        ({"schedule": 3}, "schedule: 3 is not a table"),
        ({"card": {"from": "no-such-model"}}, "card.from: .*no-such-model"),
        ({"extends": "no-such-recipe"}, "extends: There is no recipe 'no-such-recipe'"),
        ({"card": 3}, "card: 3 is not a table"),
    ],
)
def test_a_wrong_recipe_is_refused_with_the_field_and_what_it_may_be(tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        load_recipe(_written(tmp_path, changes))


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"loss": {"replace": True, "name": "dicee"}}, "'own': .*loss 'dicee'.*Known losses: .*dice"),
        ({"loss": {"replace": True, "name": "dice", "smoth": 1}}, "'own': .*loss 'dice'.*smoth"),
        ({"augmentation": [{"step": "mirorring"}]}, "'own': .*'mirorring'.*mirroring"),
        ({"schedule": {"name": "cosine"}}, "'own': .*'cosine'.*cosine_restarts"),
        ({"optimiser": {"name": "adam", "beta": 1}}, "'own': .*'adam'.*beta"),
        ({"card": {"network": {"name": "se_resunet"}}}, "'own': .*se_resunet3d"),
        ({"card": {"network": {"options": {"filtrs": 2}}}}, "'own': .*filtrs"),
        ({"sampling": {"patch": [100, 144, 144]}}, "'own': sampling.patch: .*100.*multiples of 16"),
        ({"sampling": {"patch": [144, 144]}}, "'own': sampling.patch .*3 dimensions"),
        ({"card": {"network": {"options": {"in_channels": 3}}}}, "'own': .*3 channels.*give 2"),
        ({"card": {"network": {"options": {"out_channels": 3}}}}, "'own': .*3 outputs.*need 1"),
        ({"training": {"trainable": ["head*"]}}, "'own': .*'head\\*'"),
        ({"transfer": {"fresh": ["head"]}}, "'own': transfer.fresh: .*'head'"),
        ({"data": {"source": "manifests"}}, "'own': data.source 'manifests'.*manifest"),
        (
            {
                "published": {
                    "table": "t", "row": "r", "column": "test", "metric": "dice", "definition": "",
                    "value": {"tumor": 0.5},
                }
            },
            "'own': published.value: 'tumor' is no label.*Head and neck tumour",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_before_any_case_is_read(tmp_path, changes, words):
    with pytest.raises(SegDLError, match=words):
        check_recipe(load_recipe(_written(tmp_path, changes)))


@pytest.mark.parametrize("name", ["003-unet-all-40-10", "002-brain-input-cascade"])
def test_a_recipe_that_fine_tunes_does_not_begin_with_random_weights(name, tmp_path, capsys):
    arguments = ["fit", "--recipe", name, "--data", str(tmp_path), "--output", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert f"'{name}' goes on from the weights of another training" in capsys.readouterr().err


def test_recipes_that_fine_tune_say_what_they_start_from():
    tuned = [recipe for recipe in RECIPES.values() if recipe.data.get("transfer")]
    assert len(tuned) == 9 and all("start" in recipe["choices"] for recipe in tuned)
