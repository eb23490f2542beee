"""The recipe that the README shows as an example of one's own."""

from __future__ import annotations

import re
from pathlib import Path

from SegDLTrainingLib.recipe_check import check_recipe
from SegDLTrainingLib.recipes import load_recipe

README = Path(__file__).resolve().parents[3] / "README.md"


def test_the_example_is_a_recipe_that_fits(tmp_path):
    (text,) = [
        block
        for block in re.findall(r"```json\n(.*?)```", README.read_text(), re.DOTALL)
        if "extends" in block
    ]
    path = tmp_path / "my-head-neck.json"
    path.write_text(text)
    recipe = load_recipe(path)
    check_recipe(recipe)
    assert recipe.card["network"] == {"name": "se_resunet3d", "options": {"filters": 12}}
    assert recipe["data"]["split"] == {"method": "k-fold", "folds": 5}
    assert recipe["training"]["mixed_precision"] == "none" and recipe["training"]["epochs"] == 40
    assert recipe["augmentation"] == [{"step": "mirroring"}] and recipe.published == []
