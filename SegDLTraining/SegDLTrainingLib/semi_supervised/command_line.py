"""``segdl-train semi-supervised``: few labelled cases and many without labels (report 003)."""

from __future__ import annotations

import argparse
from pathlib import Path

from SegDLEngine.protocol import Reporter

from SegDLTrainingLib import fit_command
from SegDLTrainingLib.recipes import SEMI_SUPERVISED


def add_arguments(parser: argparse.ArgumentParser) -> None:
    fit_command.add_arguments(parser)
    others = parser.add_argument_group("cases without labels")
    others.add_argument(
        "--unlabelled", type=Path, help="folder of cases or manifest; labels are not looked at"
    )
    others.add_argument("--unlabelled-layout", default="auto", help="layout of that folder")
    others.add_argument(
        "--coarse", required=True, help="model (id or package) that finds roughly where lesions are"
    )


def run(arguments: argparse.Namespace, reporter: Reporter) -> None:
    from SegDLTrainingLib.semi_supervised.run import train_semi_supervised

    fit_command.run_training(
        arguments,
        reporter,
        train_semi_supervised,
        fit_command.recipe_of(arguments, SEMI_SUPERVISED),
        coarse=arguments.coarse,
        unlabelled=arguments.unlabelled,
        unlabelled_layout=arguments.unlabelled_layout,
    )
