"""``segdl-train pretrain``: weights to start from, learnt from images without labels."""

from __future__ import annotations

import argparse

from SegDLEngine.protocol import Reporter

from SegDLTrainingLib import fit_command
from SegDLTrainingLib.recipes import RESTORATION


def add_arguments(parser: argparse.ArgumentParser) -> None:
    fit_command.add_arguments(parser, "weights to write: a file .safetensors")


def run(arguments: argparse.Namespace, reporter: Reporter) -> None:
    from SegDLTrainingLib.restoration.pretrain import pretrain

    fit_command.run_training(arguments, reporter, pretrain, fit_command.recipe_of(arguments, RESTORATION))
