"""A whole training: cases, fit, package, report."""

from __future__ import annotations

import copy
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from SegDLEngine import __version__
from SegDLEngine.networks.network import Network
from SegDLEngine.networks.registry import build_network
from SegDLEngine.protocol import Reporter

from SegDLTrainingLib.figures import measure, parts_to_measure
from SegDLTrainingLib.fit import FitResult, Machine, fit
from SegDLTrainingLib.identity import Identity
from SegDLTrainingLib.operating_point import best_threshold, operating_points, predict_volumes
from SegDLTrainingLib.package import export_package
from SegDLTrainingLib.recipes import Recipe, licence_text
from SegDLTrainingLib.start import Start
from SegDLTrainingLib.statistics import with_own_statistics
from SegDLTrainingLib.transfer import initial_weights
from SegDLTrainingLib.validation import volume_dice
from SegDLTrainingLib.volumes import PreparedVolume
from SegDLTrainingLib.workplace import workplace


def train(
    recipe: Recipe,
    output: str | Path,
    reporter: Reporter,
    *,
    start_from: str | Path | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Train after ``recipe`` and write the model package into ``output``; returns the verified package's row.

    ``start_from``: an installed model, a package or a file of weights, which are trained further; ``options``
    are those of ``workplace``, where a training that was interrupted goes on.  Under ``torchrun`` all
    processes share the training; only the first one writes, the others return {}.
    """
    output = Path(output)
    with workplace(output, reporter, **options) as place:
        first = Start.of(start_from) if start_from else None
        initial = initial_weights(recipe, first, place.reporter) if first else None
        cases = place.cases(recipe)
        test = place.test_cases(recipe)
        started = time.perf_counter()
        if initial is not None:
            initial = with_own_statistics(
                recipe, initial, cases["training"], place.machine.device, place.reporter
            )
        identity = Identity.of(recipe, cases, origin=first.origin if first else None)
        result = fit(
            recipe, cases["training"], cases["validation"], place.folder, place.reporter, place.machine,
            initial, place.curves, identity=identity,
        )  # fmt: skip
        minutes = (time.perf_counter() - started) / 60
        if not place.machine.processes.first:
            return {}
        return export(recipe, result, {**cases, "test": test}, output, place.machine, first, minutes)


def export(
    recipe: Recipe, result: FitResult, cases: Mapping[str, Sequence[PreparedVolume]], output: Path,
    machine: Machine, first: Start | None, minutes: float, further: Mapping[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Measure the weights as the package stores them, in half precision, and write it.

    ``cases``: those for "training", "validation" and "test".  ``further`` goes into the card's ``training``.
    """
    stored = {
        key: value.half().to(value.dtype) if value.is_floating_point() else value
        for key, value in result.state.items()
    }
    network = build_network(recipe.card["network"]["name"], recipe.card["network"]["options"])
    network.load_state_dict(stored)
    card = copy.deepcopy(recipe.card)
    network.to(machine.device).eval()
    measured = _measure(network, cases["validation"], recipe, card, machine.device)
    parts = parts_to_measure(recipe, cases)
    training = {
        "recipe": recipe["id"],
        "report": recipe["report"],
        "published": recipe.data.get("published"),
        "seed": recipe.seed,
        "started_from": {"sha256": first.sha256, "training": first.training} if first else None,
        "data": recipe["data"],
        "kept_epoch": result.kept["epoch"] + 1,
        "epochs": len(result.history),
        **measured,
        "cases": {part: len(volumes) for part, volumes in cases.items()},
        "measured": measure(network, parts, recipe, card, machine.device),
        **(further or {}),
        "minutes": round(minutes, 1),
        "software": {
            "engine": __version__,
            "torch": torch.__version__,
            "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, {machine.device}",
        },
    }
    if "validation_dice" in result.kept:
        training["validation_dice"] = result.kept["validation_dice"]
    return export_package(stored, card, output, training=training, licence_file=licence_text())


def _measure(
    network: Network, validation: Sequence[PreparedVolume], recipe: Recipe, card: dict[str, Any], device: str
) -> dict[str, Any]:
    """Figures of the whole validation cases; sets the card's threshold where the recipe asks for it."""
    if not validation:
        return {}
    if recipe["training"].get("operating_point"):
        probabilities = predict_volumes(network, validation, card, device)
        points = operating_points(probabilities, validation, card)
        card["inference"]["threshold"] = best_threshold(points)
        return {"operating_points": points}
    rows = [volume_dice(network, volume, card, device) for volume in validation]
    return {"validation": {label["name"]: _statistics(rows, label["value"]) for label in card["labels"]}}


def _statistics(rows: Sequence[Mapping[int, float]], value: int) -> dict[str, float]:
    """Dice over the cases that have the label or in which it was found."""
    dices = [row[value] for row in rows if value in row]
    if not dices:
        return {"cases": 0}
    return {
        "cases": len(dices),
        "dice_mean": round(float(np.mean(dices)), 4),
        "dice_median": round(float(np.median(dices)), 4),
    }
