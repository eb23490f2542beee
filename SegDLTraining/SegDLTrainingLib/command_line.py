"""``segdl-train``: fit a recipe, list recipes, generate a thorax phantom.

Exit codes as of the engine: 0 done, 1 the work failed, 2 wrong usage or input, 3 cancelled.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from SegDLEngine.command_line.terminal import add_progress
from SegDLEngine.errors import Cancelled, InputError, SegDLError
from SegDLEngine.protocol import Reporter

from SegDLTrainingLib import combine, cross_validation_command, fit_command, recipes_command, report_command
from SegDLTrainingLib.analysis import command_line as analysis
from SegDLTrainingLib.data.command_line import add_commands as add_data_commands
from SegDLTrainingLib.launcher import restarts_left, settle
from SegDLTrainingLib.progress import StopRequests, sink_of
from SegDLTrainingLib.restoration import command_line as restoration
from SegDLTrainingLib.semi_supervised import command_line as semi_supervised
from SegDLTrainingLib.svcca import command_line as svcca
from SegDLTrainingLib.uncertainty import command_line as uncertainty


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    arguments = _parser().parse_args(argv)
    arguments.stop = StopRequests()
    with arguments.stop.watching_signals(), sink_of(arguments.progress) as sink:
        reporter = Reporter(sink, arguments.stop.asked)
        try:
            arguments.run(arguments, reporter)
        except Exception as error:
            return _ended(error, reporter)
    return 0


def _ended(error: Exception, reporter: Reporter) -> int:
    """Say why the work ended, in the first of several processes only; returns the exit code."""
    first, code = settle(error.exit_code if isinstance(error, SegDLError) else SegDLError.exit_code)
    if first:
        reporter.error(error)
        if isinstance(error, SegDLError):
            print(f"segdl-train: {error}", file=sys.stderr)
        else:
            traceback.print_exception(error)
    # Who asked for a stop does not want torchrun to start again.
    return 0 if code == Cancelled.exit_code and restarts_left() else code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="segdl-train", description="Training for SegDL.  Research software, not for clinical use."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    fit_text = "train the network of a recipe and write a model package"
    fit_command.add_arguments(_command(commands, "fit", fit_command.run, fit_text))

    folds_text = "train all folds of a recipe and write their table and ensemble"
    cross_validation_command.add_arguments(
        _command(commands, "cross-validate", cross_validation_command.run, folds_text)
    )

    pretrain_text = "learn weights to start from by restoring distorted images without labels"
    restoration.add_arguments(_command(commands, "pretrain", restoration.run, pretrain_text))

    semi_text = "train with few labelled and many unlabelled cases"
    semi_supervised.add_arguments(_command(commands, "semi-supervised", semi_supervised.run, semi_text))

    recipes_text = "list the shipped recipes, or show what one means"
    recipes_command.add_arguments(_command(commands, "recipes", recipes_command.run, recipes_text))

    add_data_commands(commands, _command)

    phantom = _command(commands, "phantom", _phantom, "generate a thorax CT with a known tumour")
    phantom.add_argument("output", type=Path, help="CT to write: .nrrd, .nii.gz or .mha")
    phantom.add_argument("--labels", type=Path, help="labelmap to write: 1 = tumour")
    phantom.add_argument("--seed", type=int, default=1)
    phantom.add_argument("--spacing", type=float, nargs=3, default=(1.5, 1.5, 3.0), metavar="MM")
    phantom.add_argument("--tumours", type=int, default=1, help="how many")

    combine_text = "average weights of trainings, or join them to an ensemble"
    combine.add_arguments(_command(commands, "combine", combine.run, combine_text))
    report_text = "put finished trainings beside the figures of the reports"
    report_command.add_arguments(_command(commands, "report", report_command.run, report_text))
    analysis.add_arguments(_command(commands, "analyse", analysis.run, "gather figures by group, or masks"))
    spread_text = "judge the uncertainty of a model by the errors that it points at"
    uncertainty.add_arguments(_command(commands, "evaluate-uncertainty", uncertainty.run, spread_text))
    svcca.add_arguments(_command(commands, "svcca", svcca.run, "compare what layers of networks represent"))
    return parser


def _command(
    commands: Any, name: str, run: Callable[[argparse.Namespace, Reporter], None], text: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    add_progress(parser)
    parser.set_defaults(run=run)
    return parser


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
