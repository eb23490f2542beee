"""``segdl-train pretrain``: weights to start from, learnt from images without labels."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from SegDLEngine.protocol import Reporter

from SegDLTrainingLib import fit_command
from SegDLTrainingLib.recipes import RESTORATION


def add_arguments(parser: argparse.ArgumentParser) -> None:
    fit_command.add_arguments(parser, "weights to write: a file .safetensors")


def run(arguments: argparse.Namespace, reporter: Reporter) -> None:
    from SegDLTrainingLib.restoration.pretrain import pretrain

    recipe = fit_command.recipe_of(arguments, RESTORATION)
    fit_command.run_training(arguments, reporter, pretrain, recipe, _told)


def _told(weights: Path, report: Mapping[str, Any]) -> list[str]:
    loss = report["validation_loss"]
    return [
        f"Weights: {weights} ({report['epochs']} epochs, "
        + (f"validation loss {loss:.4f})" if loss is not None else "not validated)"),
        f"Next:    segdl-train fit --recipe RECIPE --data CASES --output MODEL --start-from {weights}",
    ]
