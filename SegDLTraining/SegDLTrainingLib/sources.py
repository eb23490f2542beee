"""Sources of training cases by name, as a recipe's ``data.source`` gives them.

A source turns one part of ``data`` ("training" or "validation") into jobs for ``preparing``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from SegDLEngine.errors import InputError
from SegDLEngine.preprocessing.registry import PreparedCase
from SegDLEngine.protocol import Reporter

from SegDLTrainingLib.preparing import Job, digest, prepare_all
from SegDLTrainingLib.recipes import Recipe
from SegDLTrainingLib.volumes import PreparedVolume

PARTS = ("training", "validation", "unlabelled")

# Modules with a function make_case(seed, data) -> PreparedCase of raw-like images on their own grids.
GENERATORS = {
    "generated thoraxes": "SegDLTrainingLib.phantom_cases",
    "generated petct": "SegDLTrainingLib.synthesis.petct",
    "generated brains": "SegDLTrainingLib.synthesis.brain",
}

Source = Callable[[Recipe, str], list[Job]]
SOURCES: dict[str, Source] = {}


def load_part(
    recipe: Recipe, part: str, cache: Path, workers: int, reporter: Reporter, stage: str
) -> list[PreparedVolume]:
    """The prepared volumes of one part of the recipe's data; raises InputError for an unknown source."""
    name = recipe["data"]["source"]
    if name not in SOURCES:
        raise InputError(
            f"The recipe's data.source '{name}' is unknown.", hint=f"Known sources: {', '.join(SOURCES)}."
        )
    jobs = SOURCES[name](recipe, part)
    return prepare_all(jobs, recipe.card, cache, workers, reporter, stage)


def generated(recipe: Recipe, part: str) -> list[Job]:
    """Cases of consecutive seeds: ``data.training`` and ``data.validation`` hold ``first_seed``, ``count``.

    Everything else in ``data`` goes to the generator and into the name of the case's folder.
    """
    data = {key: value for key, value in recipe["data"].items() if key not in PARTS}
    entry, key = recipe["data"][part], digest(data)
    seeds = range(entry["first_seed"], entry["first_seed"] + entry["count"])
    return [Job(str(seed), f"{key}-{seed}", generate, (data, seed)) for seed in seeds]


def generate(argument: tuple[Mapping[str, Any], int]) -> PreparedCase:
    """The case of a generator's (data, seed)."""
    data, seed = argument
    return importlib.import_module(GENERATORS[data["source"]]).make_case(seed, data)


def own(recipe: Recipe, part: str) -> list[Job]:
    """The user's cases; what reads them is imported only here."""
    from SegDLTrainingLib.user_cases import user_cases

    return user_cases(recipe, part)


SOURCES.update(dict.fromkeys(GENERATORS, generated))
SOURCES["manifest"] = own
