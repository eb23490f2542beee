"""``segdl-train fit``: train the network of a recipe and write a model package."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from SegDLEngine.errors import InputError
from SegDLEngine.models.card import load_card
from SegDLEngine.protocol import Reporter

from SegDLTrainingLib.places import CHECKPOINT_FILE, CURVE_FILE, working_folder
from SegDLTrainingLib.progress import StopRequests
from SegDLTrainingLib.recipes import COMMANDS, SEGMENTATION, Recipe, load_recipe


def add_arguments(parser: argparse.ArgumentParser, output: str = "folder for the model package") -> None:
    """What commands take that train once; ``output`` tells what is written."""
    add_common_arguments(parser, output)
    parser.add_argument("--fold", help="name of the split to train on (default: the first)")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="refuse to start anew; a training that was interrupted goes on in any case",
    )


def add_common_arguments(parser: argparse.ArgumentParser, output: str) -> None:
    """What all commands that train take."""
    parser.add_argument("--recipe", required=True, help="name of a shipped recipe, or a JSON file")
    parser.add_argument("--output", required=True, type=Path, help=output)
    data = parser.add_argument_group("your own cases")
    data.add_argument("--data", type=Path, help="folder of cases or manifest, instead of the recipe's data")
    data.add_argument("--layout", help="layout of the folder (default: auto)")
    data.add_argument("--splits", type=Path, help="JSON of 'segdl-train data split' (default: the recipe's)")
    parser.add_argument(
        "--start-from", help="model, package or .safetensors file whose weights are trained on"
    )
    parser.add_argument(
        "--cache", type=Path, help="folder of prepared cases (default: OUTPUT-training/cache)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:0")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: all)")
    parser.add_argument("--workers", type=int, default=2, help="processes that prepare cases")
    parser.add_argument("--epochs", type=int, help="other number of epochs than the recipe's")
    parser.add_argument(
        "--tensorboard", action="store_true", help="write curves for TensorBoard, if installed"
    )


def run(arguments: argparse.Namespace, reporter: Reporter) -> None:
    from SegDLTrainingLib.run import train

    run_training(arguments, reporter, train, recipe_of(arguments, SEGMENTATION))


def run_training(
    arguments: argparse.Namespace,
    reporter: Reporter,
    train: Callable[..., Mapping[str, Any]],
    recipe: Recipe,
    tell: Callable[[Path, Mapping[str, Any]], list[str]] | None = None,
    **further: Any,
) -> None:
    """Call ``train(recipe, output, reporter, options...)`` and tell its report, if this process has one.

    ``tell``: lines for people about what lies at the output; by default about a package.  ``arguments.stop``
    learns where the file that asks to stop would lie.
    """
    working = working_folder(arguments.output)
    if arguments.resume and not (working / CHECKPOINT_FILE).is_file():
        raise InputError(
            f"There is no training to resume: {working / CHECKPOINT_FILE} does not exist.",
            hint="Check --output, or leave --resume out to start anew.",
        )
    stop: StopRequests = arguments.stop
    stop.watch_file(working)
    if arguments.progress == "json":
        stop.watch_stdin()
    report = train(recipe, arguments.output, reporter, **options_of(arguments), **further)
    if not report:
        return
    reporter.emit("result", **report)
    if arguments.progress != "json":
        print("\n".join((tell or told_of_package)(arguments.output, report)))


def told_of_package(package: Path, report: Mapping[str, Any]) -> list[str]:
    """Where the package lies, how good it is, and what to do with it."""
    card = load_card(package)
    training = card.data["training"]
    lines = [f"Model: {package} (weights of epoch {training['kept_epoch']} of {training['epochs']})"]
    for label, figures in training.get("validation", {}).items():
        if "dice_mean" in figures:
            cases = "1 validation case" if figures["cases"] == 1 else f"{figures['cases']} validation cases"
            lines.append(f"{label}: Dice {figures['dice_mean']:.4f}, mean of {cases}")
        else:
            lines.append(f"{label}: neither there nor found in the validation cases")
    threshold = card.inference.get("threshold")
    for point in training.get("operating_points", []):
        if point["threshold"] == threshold:
            lines.append(f"Validation cases at the threshold {threshold}: Dice {point['dice']:.4f}")
    if len(lines) == 1:
        lines.append("Not measured: there were no validation cases.")
    inputs = " ".join(f"--input {entry['name']}=IMAGE" for entry in card.inputs if entry["required"])
    return [
        *lines,
        f"Curve: {working_folder(package) / CURVE_FILE}",
        f"Next:  segdl models install {package}     puts it into the list of the panel",
        f"       segdl segment --model {package} {inputs} --output RESULT.seg.nrrd",
    ]


def options_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the command line says of how to train: the options of ``run.train``."""
    names = ("cache", "device", "threads", "workers", "start_from", "tensorboard")
    return {name: getattr(arguments, name) for name in names}


def recipe_of(arguments: argparse.Namespace, task: str) -> Recipe:
    """The recipe with what the command line changes of it; raises InputError for one of another task."""
    from SegDLTrainingLib.recipe_check import check_recipe

    recipe = load_recipe(arguments.recipe)
    if recipe.task != task:
        raise InputError(
            f"The recipe '{recipe['id']}' is for segdl-train {COMMANDS[recipe.task]}.",
            hint=f"Recipes for {COMMANDS[task]} have the task '{task}'.",
        )
    check_recipe(recipe)
    if recipe.needs_start and not arguments.start_from:
        raise InputError(
            f"The recipe '{recipe['id']}' goes on from the weights of another training.",
            hint=f"Name them with --start-from; 'segdl-train recipes {recipe['id']}' says which.",
        )
    if arguments.epochs is not None:
        if arguments.epochs < 1:
            raise InputError(f"--epochs {arguments.epochs} is less than 1.")
        recipe = recipe.with_epochs(arguments.epochs)
    own = {"layout": arguments.layout, "splits": arguments.splits, "fold": arguments.fold}
    given = {key: str(value) for key, value in own.items() if value is not None}
    if arguments.data is not None:
        return recipe.with_data(arguments.data, **given)
    if given:
        raise InputError(f"--{next(iter(given))} needs --data.")
    return recipe
