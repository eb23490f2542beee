"""``segdl-train recipes``: the shipped recipes, and what one of them means with all that it inherits."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from SegDLEngine.protocol import Reporter

from SegDLTrainingLib.recipes import COMMANDS, Recipe, list_recipes, load_recipe

WIDTH = 110
# What of the card decides about the training; the rest describes the package.
CARD_PARTS = ("inputs", "labels", "network", "preprocessing", "inference", "postprocessing")
SECTIONS = (
    "data", "sampling", "augmentation", "restoration", "semi_supervised", "loss", "optimiser", "schedule",
    "training", "phases", "transfer",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "recipe", nargs="?", help="name or JSON file of one recipe: show what it means (default: list all)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON row each, or the whole recipe as JSON")


def run(arguments: argparse.Namespace, reporter: Reporter) -> None:
    if arguments.recipe is None:
        recipes = list_recipes()
        lines = [json.dumps(row_of(recipe)) for recipe in recipes] if arguments.json else listing(recipes)
        print("\n".join(lines))
        return
    recipe = load_recipe(arguments.recipe)
    if arguments.json:
        print(json.dumps(recipe.data, indent=2, ensure_ascii=False))
        return
    from SegDLTrainingLib.recipe_check import check_recipe

    check_recipe(recipe)
    print("\n".join(explanation(recipe)))


def row_of(recipe: Recipe) -> dict[str, Any]:
    """What a list of recipes says of one."""
    return {
        **{key: recipe[key] for key in ("id", "title", "report")},
        "command": COMMANDS[recipe.task],
        "network": recipe.card["network"]["name"],
        "data": _data(recipe),
        "published": [_figures(entry) for entry in recipe.published],
    }


def listing(recipes: Sequence[Recipe]) -> list[str]:
    """Lines of all recipes, by the report that they are from."""
    lines = []
    for report, group in groupby(sorted(recipes, key=_report), _report):
        lines += ["", f"Report {report}" if report < "A" else report]
        for recipe in group:
            row = row_of(recipe)
            lines.append(f"  {row['id']}")
            lines.append(f"      {_short_title(recipe)}")
            figures = dict.fromkeys(row["published"])
            known = [f"published: {figure}" for figure in figures]
            command = [f"for segdl-train {row['command']}"] if row["command"] != "fit" else []
            lines.append(f"      {'; '.join([row['network'], row['data'], *command, *known])}")
    return [*lines[1:], "", "segdl-train recipes NAME shows what a recipe means."]


def explanation(recipe: Recipe) -> list[str]:
    """Lines with everything that decides about the training, and what was chosen where the report is open."""
    lines = [f"{recipe['id']}: {recipe['title']}"]
    if "extends" in recipe.data:
        lines.append(f"extends {recipe['extends']}; all of it is shown")
    lines += ["", f"seed: {recipe.seed}"]
    for part in CARD_PARTS:
        lines += _told(f"card.{part}", _plain(part, recipe.card[part]))
    for section in SECTIONS:
        if section in recipe.data:
            lines += _told(section, recipe[section])
    for entry in recipe.published:
        lines += ["", f"published: {entry['table']}, {entry['row']}: {_figures(entry)}"]
        lines.append(f"  as the report defines it: {entry['definition']}")
    if recipe.data.get("choices"):
        lines += ["", "Chosen where the report is open or contradicts itself:"]
        lines += [f"  {about}: {text}" for about, text in recipe["choices"].items()]
    return lines


def _report(recipe: Recipe) -> str:
    """Demonstrations and examples come after the reports' own experiments."""
    own = recipe["id"].startswith(f"{recipe['report']}-") and recipe["report"]
    return recipe["report"] if own else "Demonstrations and examples"


def _short_title(recipe: Recipe) -> str:
    title = recipe["title"].removeprefix(f"Report {recipe['report']}").lstrip(",: ")
    return title[0].upper() + title[1:]


def _data(recipe: Recipe) -> str:
    """The inputs that a case needs, and where cases come from if not from the user."""
    inputs = [entry["name"] for entry in recipe.card["inputs"] if entry.get("required", True)]
    source = recipe["data"]["source"]
    needs = f"needs {' + '.join(inputs)}"
    return needs if source == "manifest" else f"{needs} ({source})"


def _figures(entry: Mapping[str, Any]) -> str:
    value = entry["value"]
    if isinstance(value, Mapping):
        return f"{entry['metric']} {', '.join(f'{name} {number:g}' for name, number in value.items())}"
    return f"{entry['metric']} {value:g} ({entry['column']})"


def _plain(part: str, value: Any) -> Any:
    if part == "inputs":
        return [entry["name"] for entry in value]
    return {label["value"]: label["name"] for label in value} if part == "labels" else value


def _told(name: str, value: Any) -> Iterator[str]:
    """The value on one line if it fits, else an entry a line."""
    text = f"{name}: {json.dumps(value, ensure_ascii=False)}"
    if len(text) <= WIDTH or not isinstance(value, Mapping | list):
        yield text
        return
    yield f"{name}:"
    entries = value.items() if isinstance(value, Mapping) else [("-", entry) for entry in value]
    for key, entry in entries:
        written = json.dumps(entry, ensure_ascii=False)
        yield f"  {key} {written}" if key == "-" else f"  {key}: {written}"
