"""A whole training: cases, fit, package, report."""

from __future__ import annotations

import copy
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from SegDLEngine import __version__
from SegDLEngine.errors import InputError
from SegDLEngine.networks.network import Network
from SegDLEngine.networks.registry import build_network
from SegDLEngine.protocol import Reporter

from SegDLTrainingLib.curves import Curves
from SegDLTrainingLib.fit import FitResult, Machine, fit
from SegDLTrainingLib.operating_point import best_threshold, operating_points, predict_volumes
from SegDLTrainingLib.package import export_package
from SegDLTrainingLib.places import working_folder
from SegDLTrainingLib.processes import Processes, joined
from SegDLTrainingLib.recipes import Recipe, licence_text
from SegDLTrainingLib.sources import load_part
from SegDLTrainingLib.start import Start
from SegDLTrainingLib.transfer import initial_weights
from SegDLTrainingLib.validation import volume_dice
from SegDLTrainingLib.volumes import PreparedVolume

GPU_LOADERS = 4


def train(
    recipe: Recipe,
    output: str | Path,
    reporter: Reporter,
    *,
    cache: str | Path | None = None,
    device: str = "auto",
    threads: int = 0,
    workers: int = 2,
    start_from: str | Path | None = None,
    tensorboard: bool = False,
) -> dict[str, Any]:
    """Train after ``recipe`` and write the model package into ``output``; returns the verified package's row.

    Cases are kept in ``cache``; checkpoint, kept weights and curve of the running training in ``output`` with
    ``-training`` appended to its name, where a training that was interrupted goes on.  ``start_from``: an
    installed model, a package or a file of weights, which are trained further.  Under ``torchrun``
    all processes share the training; only the first one writes, the others return {}.
    """
    output = Path(output)
    working = working_folder(output)
    device = _device(device)
    if threads:
        torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    with joined(device) as processes:
        if not processes.first:
            reporter = Reporter()
        machine = Machine(device, processes, GPU_LOADERS if device.startswith("cuda") else 0)
        curves = Curves(working, picture=True, tensorboard=tensorboard) if processes.first else None
        cases = _cases(recipe, Path(cache) if cache else working / "cache", workers, reporter, processes)
        first = Start.of(start_from) if start_from else None
        started = time.perf_counter()
        initial = initial_weights(recipe.card, first, recipe.data.get("transfer")) if first else None
        result = fit(
            recipe, cases["training"], cases["validation"], working, reporter, machine, initial, curves
        )
        minutes = (time.perf_counter() - started) / 60
        if not processes.first:
            return {}
        return _export(recipe, result, cases["validation"], output, machine, first, minutes)


def _cases(
    recipe: Recipe, cache: Path, workers: int, reporter: Reporter, processes: Processes
) -> dict[str, list[PreparedVolume]]:
    """Both parts; the first process prepares what is missing while the others wait."""
    reporter.stages({"validation cases": 0.02, "training cases": 0.15, "training": 0.83})
    parts = ("validation", "training")
    if not processes.first:
        processes.wait()
    cases = {part: load_part(recipe, part, cache, workers, reporter, f"{part} cases") for part in parts}
    if processes.first:
        processes.wait()
    return cases


def _export(
    recipe: Recipe, result: FitResult, validation: Sequence[PreparedVolume], output: Path, machine: Machine,
    first: Start | None, minutes: float,
) -> dict[str, Any]:  # fmt: skip
    """Measure the weights as the package stores them, in half precision, and write it."""
    stored = {
        key: value.half().to(value.dtype) if value.is_floating_point() else value
        for key, value in result.state.items()
    }
    network = build_network(recipe.card["network"]["name"], recipe.card["network"]["options"])
    network.load_state_dict(stored)
    card = copy.deepcopy(recipe.card)
    measured = _measure(network.to(machine.device).eval(), validation, recipe, card, machine.device)
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


def _device(wanted: str) -> str:
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"Device '{wanted}' is not there.", hint="Use --device cpu.")
    if wanted == "cuda" and "LOCAL_RANK" in os.environ:
        wanted = f"cuda:{os.environ['LOCAL_RANK']}"
    return wanted
