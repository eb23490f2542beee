"""``segdl-train evaluate-uncertainty``: uncertainty judged by the errors that it should point at."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from SegDLEngine.errors import InputError
from SegDLEngine.models.card import ModelCard
from SegDLEngine.models.catalogue import load_model
from SegDLEngine.protocol import Reporter

if TYPE_CHECKING:
    from SegDLTrainingLib.preparing import Job


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", required=True, help="model (id or package); Monte Carlo dropout unless its card says other"
    )
    cases = parser.add_mutually_exclusive_group(required=True)
    cases.add_argument("--data", type=Path, help="folder of labelled cases or manifest")
    cases.add_argument("--recipe", help="recipe whose generated validation cases are taken")
    parser.add_argument("--layout", default="auto", help="layout of the folder")
    parser.add_argument("--splits", type=Path, help="JSON of 'segdl-train data split': only one part of it")
    parser.add_argument("--fold", help="name of the split (default: the first)")
    parser.add_argument("--part", default="test", choices=("training", "validation", "test"))
    parser.add_argument("--output", type=Path, required=True, help="folder for tables and picture")
    parser.add_argument("--samples", type=int, default=25, help="passes with dropout (default: 25)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:0")


def run(arguments: argparse.Namespace, reporter: Reporter) -> None:
    from SegDLTrainingLib.uncertainty.evaluate import evaluate_uncertainty

    model = load_model(arguments.model)
    jobs = _recipe_cases(arguments.recipe) if arguments.recipe else _own_cases(arguments, model.card)
    summary = evaluate_uncertainty(
        model,
        jobs,
        arguments.output,
        reporter,
        samples=arguments.samples,
        seed=arguments.seed,
        device=arguments.device,
    )
    reporter.emit("result", output=str(arguments.output), labels=summary)
    if arguments.progress != "json":
        print(json.dumps(summary, indent=1))


def _recipe_cases(name: str) -> list[Job]:
    from SegDLTrainingLib.recipes import load_recipe
    from SegDLTrainingLib.sources import GENERATORS, generated

    recipe = load_recipe(name)
    if recipe["data"]["source"] not in GENERATORS:
        raise InputError(
            f"The recipe '{name}' has no generated cases.", hint="Name labelled cases with --data."
        )
    return generated(recipe, "validation")


def _own_cases(arguments: argparse.Namespace, card: ModelCard) -> list[Job]:
    from SegDLTrainingLib.data.layouts import find_cases
    from SegDLTrainingLib.data.splits import read_splits
    from SegDLTrainingLib.preparing import Job
    from SegDLTrainingLib.user_cases import load, refuse

    found = find_cases(arguments.data, card, layout=arguments.layout)
    refuse(found.problems)
    cases = found.cases
    if arguments.splits:
        cases = read_splits(arguments.splits)[arguments.fold or 0].of(cases, arguments.part)
    for case in cases:
        if case.labels is None:
            raise InputError(f"The case '{case.name}' has no labels.", hint="Leave it out of the data.")
    return [Job(case.name, "", load, (case, card.data), case.patient) for case in cases]
