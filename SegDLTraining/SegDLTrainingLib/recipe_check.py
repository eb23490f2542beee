"""What a recipe names and no schema knows: network, patch, losses, steps, parameters.

Checked before any case is read, so that a slip of the pen does not show after hours of preparation.
"""

from __future__ import annotations

import torch
from SegDLEngine.errors import InputError, SegDLError
from SegDLEngine.networks.network import Network
from SegDLEngine.networks.registry import build_empty
from SegDLEngine.preprocessing.registry import check_steps

from SegDLTrainingLib.augmentation.registry import build_augmentation
from SegDLTrainingLib.losses.registry import build_loss
from SegDLTrainingLib.optimisers import build_optimiser
from SegDLTrainingLib.recipes import Recipe
from SegDLTrainingLib.schedules import build_schedule
from SegDLTrainingLib.sources import SOURCES
from SegDLTrainingLib.trainable import choose_trainable


def check_recipe(recipe: Recipe) -> None:
    """Raise InputError, or ModelError for the card, that begins with the recipe's id."""
    try:
        source = recipe["data"]["source"]
        if source not in SOURCES:
            raise InputError(f"data.source '{source}' is unknown.", hint=f"Known: {', '.join(SOURCES)}.")
        check_steps(recipe.card["preprocessing"], [entry["name"] for entry in recipe.card["inputs"]])
        for phase in recipe.phases:
            _check_phase(phase)
        _check_published(recipe)
    except SegDLError as error:
        name = f"The recipe '{recipe['id']}': "
        raise type(error)(name + error.text, hint=error.hint, code=error.code) from error


def _check_phase(phase: Recipe) -> None:
    described = phase.card["network"]
    network = build_empty(described["name"], described["options"], "meta")
    _check_channels(phase, network)
    _check_sides(phase, network)
    build_loss(phase["loss"], phase.card["inference"]["activation"])
    build_schedule(phase["schedule"])
    build_augmentation(phase["augmentation"], network.dimensions)
    choose_trainable(network, phase["training"].get("trainable", ["*"]))
    chosen = [parameter for parameter in network.parameters() if parameter.requires_grad]
    build_optimiser(chosen, phase.data.get("optimiser", {}))
    modules = {name for name, _ in network.named_modules()}
    for name in phase.data.get("transfer", {}).get("fresh", []):
        if name not in modules:
            top = ", ".join(child for child, _ in network.named_children())
            raise InputError(f"transfer.fresh: the network has no module '{name}'.", hint=f"Parts: {top}.")


def _check_channels(phase: Recipe, network: Network) -> None:
    inputs, context = phase.card["inputs"], phase.card["inference"].get("context", [0])
    channels, wanted = len(inputs) * len(context), int(network.report_input[0])
    if channels != wanted:
        raise InputError(
            f"card.network takes {wanted} channels, the card's inputs give {channels}.",
            hint="Set in_channels in card.network.options, or the card's inputs.",
        )


def _check_sides(phase: Recipe, network: Network) -> None:
    sampling = phase["sampling"]
    name = "patch" if sampling.get("mode") == "patches" else "size"
    sides, divisor = sampling[name], network.divisible_by
    if len(sides) != network.dimensions:
        raise InputError(f"sampling.{name} {sides}: the network has {network.dimensions} dimensions.")
    wrong = [side for side in sides if (side - network.remainder) % divisor or side <= 2 * network.margin]
    if wrong:
        more = f" plus {network.remainder % divisor}" if network.remainder % divisor else ""
        raise InputError(
            f"sampling.{name}: the network cannot take a side of {wrong[0]}.",
            hint=f"Take multiples of {divisor}{more}, more than {2 * network.margin}.",
        )
    classes = len(phase.card["labels"]) + (phase.card["inference"]["activation"] == "softmax")
    images = torch.zeros(2, int(network.report_input[0]), *sides[::-1], device="meta")
    outputs = network(images).shape[1]
    if outputs != classes:
        raise InputError(
            f"card.network has {outputs} outputs, the card's labels and activation need {classes}.",
            hint="Set out_channels in card.network.options, or the card's labels.",
        )


def _check_published(recipe: Recipe) -> None:
    labels = {label["name"] for label in recipe.card["labels"]}
    for entry in recipe.published:
        if isinstance(entry["value"], dict):
            known = {*labels, *entry.get("regions", {}), "train", "validation", "test"}
            strange = sorted(set(entry["value"]) - known)
            if strange:
                raise InputError(
                    f"published.value: '{strange[0]}' is no label, region or part of the cases.",
                    hint=f"Known: {', '.join(sorted(known))}.",
                )
