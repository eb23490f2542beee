"""``segdl-train``: fit a recipe, list recipes, generate a thorax phantom.

Exit codes as of the engine: 0 done, 1 the work failed, 2 wrong usage or input, 3 cancelled.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from SegDLEngine.errors import InputError, SegDLError
from SegDLEngine.protocol import Event, Reporter, line_sink

from SegDLTrainingLib.analysis import command_line as analysis
from SegDLTrainingLib.data.command_line import add_commands as add_data_commands
from SegDLTrainingLib.recipes import list_recipes, load_recipe
from SegDLTrainingLib.svcca import command_line as svcca


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    arguments = _parser().parse_args(argv)
    stop = threading.Event()
    reporter = Reporter(_sink(arguments.progress), stop.is_set)
    before = signal.signal(signal.SIGINT, lambda *_: stop.set())
    try:
        arguments.run(arguments, reporter)
    except SegDLError as error:
        _complain(error, arguments.progress, reporter)
        return error.exit_code
    finally:
        signal.signal(signal.SIGINT, before)
    return 0


def _complain(error: SegDLError, progress: str, reporter: Reporter) -> None:
    if progress == "json":
        reporter.error(error)
    print(f"segdl-train: {error}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="segdl-train", description="Training for SegDL.  Research software, not for clinical use."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    fit = _command(commands, "fit", _fit, "train the network of a recipe and write a model package")
    fit.add_argument("--recipe", required=True, help="name of a shipped recipe, or a JSON file")
    fit.add_argument("--output", required=True, type=Path, help="folder for the model package")
    fit.add_argument("--start-from", help="model or package whose weights are trained further")
    fit.add_argument("--cache", type=Path, help="folder of prepared cases (default: OUTPUT/cache)")
    fit.add_argument("--device", default="auto", help="auto, cpu or cuda:0")
    fit.add_argument("--threads", type=int, default=0, help="CPU threads (default: all)")
    fit.add_argument("--workers", type=int, default=2, help="processes that generate cases")
    fit.add_argument("--epochs", type=int, help="other number of epochs than the recipe's")

    recipes = _command(commands, "recipes", _recipes, "list the shipped recipes")
    recipes.add_argument("--json", action="store_true", help="one JSON row each")

    add_data_commands(commands, _command)

    phantom = _command(commands, "phantom", _phantom, "generate a thorax CT with a known tumour")
    phantom.add_argument("output", type=Path, help="CT to write: .nrrd, .nii.gz or .mha")
    phantom.add_argument("--labels", type=Path, help="labelmap to write: 1 = tumour")
    phantom.add_argument("--seed", type=int, default=1)
    phantom.add_argument("--spacing", type=float, nargs=3, default=(1.5, 1.5, 3.0), metavar="MM")
    phantom.add_argument("--tumours", type=int, default=1, help="how many")

    analysis.add_arguments(_command(commands, "analyse", analysis.run, "gather figures by group, or masks"))
    svcca.add_arguments(_command(commands, "svcca", svcca.run, "compare what layers of networks represent"))
    return parser


def _command(
    commands: Any, name: str, run: Callable[[argparse.Namespace, Reporter], None], text: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.add_argument("--progress", choices=("bar", "json", "none"), default="bar")
    parser.set_defaults(run=run)
    return parser


def _sink(progress: str) -> Callable[[Event], None] | None:
    if progress == "json":
        return line_sink(sys.stdout)
    return _show if progress == "bar" else None


def _show(event: Event) -> None:
    if event["event"] in ("log", "warning"):
        print(event["text"], file=sys.stderr, flush=True)
    elif event["event"] == "progress" and sys.stderr.isatty():
        eta = "" if event["eta_s"] is None else f", {event['eta_s']:.0f} s left"
        end = "\n" if event["fraction"] >= 1 else ""
        print(
            f"\r{100 * event['fraction']:5.1f} %  {event['stage']}{eta}   ",
            file=sys.stderr,
            end=end,
            flush=True,
        )


def _fit(arguments: argparse.Namespace, reporter: Reporter) -> None:
    from SegDLTrainingLib.run import train

    recipe = load_recipe(arguments.recipe)
    if arguments.epochs is not None:
        if arguments.epochs < 1:
            raise InputError(f"--epochs {arguments.epochs} is less than 1.")
        recipe = recipe.with_epochs(arguments.epochs)
    report = train(
        recipe,
        arguments.output,
        reporter,
        cache=arguments.cache,
        device=arguments.device,
        threads=arguments.threads,
        workers=arguments.workers,
        start_from=arguments.start_from,
    )
    reporter.emit("result", **report)
    if arguments.progress != "json":
        print(json.dumps(report))


def _recipes(arguments: argparse.Namespace, reporter: Reporter) -> None:
    for recipe in list_recipes():
        row = {key: recipe[key] for key in ("id", "title", "report")}
        print(json.dumps(row) if arguments.json else f"{row['id']:28} report {row['report']}  {row['title']}")


def _phantom(arguments: argparse.Namespace, reporter: Reporter) -> None:
    from SegDLEngine.images.writing import write_image

    from SegDLTrainingLib.synthesis.thorax import thorax_phantom

    if not all(0.5 <= step <= 10 for step in arguments.spacing):
        raise InputError(f"--spacing {arguments.spacing} is not within 0.5 to 10 mm.")
    if arguments.tumours < 0 or arguments.seed < 0:
        raise InputError("--tumours and --seed must not be negative.")
    ct, labels = thorax_phantom(arguments.seed, arguments.spacing, tumours=arguments.tumours)
    write_image(ct, arguments.output)
    if arguments.labels:
        write_image(labels, arguments.labels)
    reporter.emit("result", files={"ct": str(arguments.output), "labels": str(arguments.labels or "")})
