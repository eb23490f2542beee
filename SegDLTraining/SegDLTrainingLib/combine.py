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
from typing import TYPE_CHECKING, Any

from SegDLEngine.errors import InputError
from SegDLEngine.models.catalogue import Model, load_model
from SegDLEngine.protocol import Reporter

if TYPE_CHECKING:
    import torch

# What the card of a combination says of how it was made; figures of a part are not those of the whole.
KEPT_OF_TRAINING = ("recipe", "report", "seed", "data", "started_from")
SAME_INFERENCE = ("mode", "context", "patch", "activation")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--fold",
        action="append",
        nargs="+",
        required=True,
        metavar="WEIGHTS",
        help="packages or *.safetensors whose mean is one fold, or an ensemble, each network of which is a "
        "fold; repeat for an ensemble",
    )
    parser.add_argument("--card", help="package whose card the result gets (default: the first package)")
    parser.add_argument("--output", required=True, type=Path, help="folder for the model package")


def run(arguments: argparse.Namespace, reporter: Reporter) -> None:
    report = combine(arguments.fold, arguments.output, arguments.card)
    reporter.emit("result", **report)
    if arguments.progress != "json":
        count = f"ensemble of {report['folds']} networks" if report["folds"] > 1 else "one network"
        print(f"Model: {arguments.output} ({count})")
        print(f"Next:  segdl models install {arguments.output}     puts it into the list of the panel")


def combine(folds: Sequence[Sequence[str]], output: str | Path, card: str | None = None) -> dict[str, Any]:
    """Write the package and verify it; returns its row with the number of ``folds``.

    Raises InputError when no package gives a card, when weights are not those of the card's network, when the
    card of another package asks for other inputs, labels or preprocessing, or when an ensemble is to be
    averaged with other weights.
    """
    from SegDLEngine.models.writing import write_package

    from SegDLTrainingLib.package import ensemble_inference
    from SegDLTrainingLib.recipes import licence_text
    from SegDLTrainingLib.start import EXTENSION

    sources = dict.fromkeys(source for fold in folds for source in fold)
    models = {source: load_model(source) for source in sources if not source.endswith(EXTENSION)}
    if card is None and not models:
        raise InputError("No package gives the card.", hint="Name one with --card.")
    model = load_model(card) if card is not None else next(iter(models.values()))
    for other in models.values():
        _check_same(model, other)
    reference = model.build().state_dict()
    states = [state for fold in folds for state in _states(fold, models, reference)]
    data = copy.deepcopy(model.card.data)
    data.pop("weights", None)
    data["results"] = []
    data["inference"] = ensemble_inference(data["inference"], len(states))
    training = {key: value for key, value in data.get("training", {}).items() if key in KEPT_OF_TRAINING}
    data["training"] = {**training, "combined": [list(map(_name, fold)) for fold in folds]}
    report = write_package(states, data, output, licence_file=licence_text())
    return {**report, "folds": len(states)}


def _states(
    fold: Sequence[str], models: Mapping[str, Model], reference: Mapping[str, torch.Tensor]
) -> list[Mapping[str, Any]]:
    """The weights of a fold: a mean, or those of each network of an ensemble."""
    from SegDLTrainingLib.start import weights_like

    ensembles = [source for source in fold if source in models and len(models[source].card.weight_files) > 1]
    if not ensembles:
        hint = "Combine trainings of one recipe, or of recipes with the same network."
        return [_mean([weights_like(source, reference, hint) for source in fold])]
    if len(fold) > 1:
        raise InputError(
            f"{ensembles[0]} is an ensemble, whose weights have no mean with others.",
            hint=f"Give it a --fold of its own: --fold {ensembles[0]}.",
        )
    return [network.state_dict() for network in models[fold[0]].networks()]


def _check_same(model: Model, other: Model) -> None:
    """Raise InputError that names the first entry of the cards that must be the same and is not."""
    for (what, mine), theirs in zip(_decisive(model).items(), _decisive(other).values(), strict=True):
        if mine != theirs:
            raise InputError(
                f"{other.folder} cannot be combined with {model.folder}: '{what}' of their cards differ.",
                hint="Combine trainings of one recipe, or of recipes with the same network and steps.",
            )


def _decisive(model: Model) -> dict[str, Any]:
    """What networks must share so that their probabilities mean the same of the same images."""
    card = model.card
    return {
        "network": card.network,
        "inputs": [[entry[key] for key in ("name", "modality", "unit", "required")] for entry in card.inputs],
        "labels": [[label["value"], label["name"]] for label in card.labels],
        "preprocessing": card.preprocessing,
        **{f"inference.{key}": card.inference.get(key) for key in SAME_INFERENCE},
    }


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
