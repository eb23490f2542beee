"""``segdl-train cross-validate``: train all folds of a recipe and write their ensemble."""

from __future__ import annotations

import argparse
from typing import Any

from SegDLEngine.command_line.tables import print_table
from SegDLEngine.errors import InputError
from SegDLEngine.protocol import Reporter

from SegDLTrainingLib import fit_command
from SegDLTrainingLib.recipes import SEGMENTATION, Recipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    fit_command.add_common_arguments(parser, "folder for the packages of the folds, their table and ensemble")
    parser.add_argument(
        "--folds", type=int, help="folds by patient, in place of the recipe's own division of the cases"
    )
    parser.set_defaults(fold=None)


def run(arguments: argparse.Namespace, reporter: Reporter) -> None:
    from SegDLTrainingLib.cross_validation import cross_validate

    recipe = _recipe(arguments)
    arguments.stop.watch_file(arguments.output)
    if arguments.progress == "json":
        arguments.stop.watch_stdin()
    report = cross_validate(recipe, arguments.output, reporter, **fit_command.options_of(arguments))
    if not report:
        return
    reporter.emit("result", **report)
    if arguments.progress != "json":
        _print(report)


def _recipe(arguments: argparse.Namespace) -> Recipe:
    recipe = fit_command.recipe_of(arguments, SEGMENTATION)
    if recipe["data"]["source"] != "manifest":
        raise InputError(
            f"The recipe '{recipe['id']}' generates its cases, which have no folds.",
            hint="Name your cases with --data FOLDER or MANIFEST.",
        )
    if arguments.folds is None:
        return recipe
    if arguments.splits is not None:
        raise InputError("--folds and --splits exclude each other.")
    split = {"method": "k-fold", "folds": arguments.folds}
    return Recipe({**recipe.data, "data": {**recipe["data"], "split": split}})


def _print(report: dict[str, Any]) -> None:
    rows = [
        [row["fold"], row["split"], label, _text(figures.get("dice_mean"))]
        for row in report["folds"]
        for label, figures in row["figures"].items()
    ]
    for label, figures in report["summary"].items():
        rows.append(["mean", "", label, _text(figures["dice_mean"])])
        rows.append(["sd", "", label, _text(figures["dice_sd"])])
    print_table(["fold", "split", "label", "Dice"], rows)
    print(f"Model: {report['ensemble']} (all {len(report['folds'])} folds)")
    print(f"Table: {report['table']}")
    print(f"Next:  segdl models install {report['ensemble']}     puts it into the list of the panel")


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
