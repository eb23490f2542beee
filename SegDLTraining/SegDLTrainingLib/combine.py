"""``segdl-train combine``: one model package from the weights of several trainings of one network.

The weights of a fold may be the mean of several, which keeps the network's size and often segments more
steadily than each alone (Wortsman et al. 2022); several folds become an ensemble, whose probabilities are
averaged.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from SegDLEngine.errors import InputError
from SegDLEngine.models.catalogue import load_model
from SegDLEngine.protocol import Reporter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--fold",
        action="append",
        nargs="+",
        required=True,
        metavar="WEIGHTS",
        help="packages or *.safetensors whose mean is one fold; repeat for an ensemble",
    )
    parser.add_argument("--card", help="package whose card the result gets (default: the first package)")
    parser.add_argument("--output", required=True, type=Path, help="folder for the model package")


def run(arguments: argparse.Namespace, reporter: Reporter) -> None:
    report = combine(arguments.fold, arguments.output, arguments.card)
    reporter.emit("result", **report)


def combine(folds: Sequence[Sequence[str]], output: str | Path, card: str | None = None) -> dict[str, Any]:
    """Write the package and verify it; returns its row.

    Raises InputError when weights are not those of the card's network or no package gives a card.
    """
    from SegDLEngine.models.writing import write_package

    from SegDLTrainingLib.recipes import licence_text
    from SegDLTrainingLib.start import EXTENSION, weights_like

    sources = [source for fold in folds for source in fold]
    packages = [source for source in sources if not source.endswith(EXTENSION)]
    if card is None and not packages:
        raise InputError("No package gives the card.", hint="Name one with --card.")
    model = load_model(card or packages[0])
    reference = model.build().state_dict()
    hint = "Combine trainings of one recipe, or of recipes with the same network."
    states = [_mean([weights_like(source, reference, hint) for source in fold]) for fold in folds]
    data = copy.deepcopy(model.card.data)
    data.pop("weights", None)
    data["results"] = []
    data["training"] = {**data.get("training", {}), "combined": [list(map(_name, fold)) for fold in folds]}
    return write_package(states, data, output, licence_file=licence_text())


def _mean(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Tensor by tensor; counters are those of the first."""
    return {
        name: sum(state[name].float() for state in states) / len(states)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in states[0].items()
    }


def _name(source: str) -> str:
    return Path(source).name
