"""A whole training: cases, fit, package, report."""

from __future__ import annotations

import copy
import platform
import time
from pathlib import Path
from typing import Any

import torch
from SegDLEngine import __version__
from SegDLEngine.errors import InputError
from SegDLEngine.models.catalogue import load_model
from SegDLEngine.networks.registry import build_network
from SegDLEngine.protocol import Reporter

from SegDLTrainingLib.fit import fit
from SegDLTrainingLib.operating_point import best_threshold, operating_points, predict_volumes
from SegDLTrainingLib.package import export_package
from SegDLTrainingLib.phantom_cases import phantom_volumes
from SegDLTrainingLib.recipes import Recipe, licence_text


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
) -> dict[str, Any]:
    """Train after ``recipe`` and write the model package into ``output``; returns the verified package's row.

    Cases are kept in ``cache``, weights and curve of the running training in ``output`` with ``-training``
    appended to its name.  ``start_from``: an installed model or package with the same network, whose weights
    are trained further.
    """
    output = Path(output)
    working = output.with_name(output.name + "-training")
    device = _device(device)
    if threads:
        torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    reporter.stages({"validation cases": 0.02, "training cases": 0.15, "training": 0.83})
    cache = Path(cache) if cache else working / "cache"
    cases = {}
    for part in ("validation", "training"):
        entry = recipe["data"][part]
        seeds = range(entry["first_seed"], entry["first_seed"] + entry["count"])
        cases[part] = phantom_volumes(recipe, seeds, cache, workers, reporter, f"{part} cases")
    first = load_model(start_from) if start_from else None
    if first is not None and first.card.network != recipe.card["network"]:
        raise InputError(f"The network of {start_from} is not the recipe's.")
    started = time.perf_counter()
    result = fit(
        recipe,
        cases["training"],
        cases["validation"],
        working,
        reporter,
        device,
        first.build().state_dict() if first else None,
    )
    minutes = (time.perf_counter() - started) / 60
    network = build_network(recipe.card["network"]["name"], recipe.card["network"]["options"])
    network.load_state_dict(result.state)
    probabilities = predict_volumes(network.to(device).eval(), cases["validation"], recipe.card, device)
    points = operating_points(probabilities, cases["validation"], recipe.card)
    card = copy.deepcopy(recipe.card)
    card["inference"]["threshold"] = best_threshold(points)
    training = {
        "recipe": recipe["id"],
        "report": recipe["report"],
        "seed": recipe.seed,
        "started_from": {"sha256": first.sha256, "training": first.card.data["training"]} if first else None,
        "data": recipe["data"],
        "kept_epoch": result.kept["epoch"] + 1,
        "epochs": len(result.history),
        "synthetic_validation_dice": result.kept["validation_dice"],
        "minutes": round(minutes, 1),
        "synthetic_validation": points,
        "software": {
            "engine": __version__,
            "torch": torch.__version__,
            "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, {device}",
        },
    }
    return export_package(result.state, card, output, training=training, licence_file=licence_text())


def _device(wanted: str) -> str:
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"Device '{wanted}' is not there.", hint="Use --device cpu.")
    return wanted
