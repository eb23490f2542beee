"""segdl-train recipes: the list, and one recipe with all that it inherits."""

from __future__ import annotations

import json

from SegDLTrainingLib.command_line import main
from SegDLTrainingLib.recipes import list_recipes, load_recipe


def test_the_list_names_each_recipe_its_network_its_data_and_the_published_figure(capsys):
    assert main(["recipes"]) == 0
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    for recipe in list_recipes():
        assert f"  {recipe['id']}" in lines
    assert max(map(len, lines)) < 200
    place = lines.index("  000-table4-noise-01")
    assert lines[place + 2].split("; ") == [
        "      se_resunet3d", "needs CT + PET", "published: dice 0.695 (validation)",
    ]  # fmt: skip
    assert lines.index("Report 000") < place < lines.index("Report 001")
    assert "for segdl-train pretrain" in lines[lines.index("  003-genesis-restoration") + 2]
    assert "train 0.9705, validation 0.8119, test 0.8012" in printed


def test_one_recipe_is_shown_with_what_it_inherits_and_what_was_chosen(capsys):
    assert main(["recipes", "000-table4-noise-01"]) == 0
    printed = capsys.readouterr().out
    assert "extends 000-table1-instance-norm" in printed
    assert 'card.network: {"name": "se_resunet3d", "options": {"filters": 24}}' in printed
    assert '  - {"step": "noise", "variance": 0.1}' in printed
    assert '"method": "hold-out", "ratio": [6, 1]' in printed
    assert "dice 0.695 (validation)" in printed and "  noise: Variance uniform" in printed


def test_as_json_it_is_a_recipe_that_can_be_trained(tmp_path, capsys):
    assert main(["recipes", "002-brain-flair", "--json"]) == 0
    path = tmp_path / "whole.json"
    path.write_text(capsys.readouterr().out)
    whole, shipped = load_recipe(path), load_recipe("002-brain-flair")
    assert {**whole.data, "extends": ""} == {**shipped.data, "extends": ""}
    assert main(["recipes", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["id"] for row in rows} == {recipe["id"] for recipe in list_recipes()}


def test_an_unknown_recipe_is_named(capsys):
    assert main(["recipes", "no-such-recipe"]) == 2
    assert "There is no recipe 'no-such-recipe'" in capsys.readouterr().err
