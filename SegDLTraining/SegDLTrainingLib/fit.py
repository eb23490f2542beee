"""Fit a network after a recipe: batches, loss, averaged weights, validation, best weights kept.

Everything random follows from the recipe's seed, so the same machine and thread count give the same weights.
"""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from SegDLEngine.networks.registry import build_network
from SegDLEngine.protocol import Reporter

from SegDLTrainingLib.augmentation import Augmentation
from SegDLTrainingLib.live_tumours import LiveTumours
from SegDLTrainingLib.losses import PrivilegedDice, soft_dice
from SegDLTrainingLib.package import write_weights
from SegDLTrainingLib.phantom_cases import PreparedVolume
from SegDLTrainingLib.recipes import Recipe
from SegDLTrainingLib.sampling import SliceSampler
from SegDLTrainingLib.schedules import build_schedule

KEPT_FILE = "kept.safetensors"
HISTORY_FILE = "history.json"


@dataclass(frozen=True)
class FitResult:
    """``state``: the averaged weights; ``history``: one row an epoch; ``kept``: the row of ``state``.

    The recipe's ``training.keep`` says which weights: the "best" on the validation slices or the "last".
    """

    state: dict[str, torch.Tensor]
    history: list[dict[str, float]]
    kept: dict[str, float]


class WeightAverage:
    """Exponential moving average of weights and batch-norm statistics."""

    def __init__(self, network: torch.nn.Module, decay: float):
        self.network = copy.deepcopy(network).eval()
        self._decay = decay
        self._count = 0

    @torch.no_grad()
    def update(self, network: torch.nn.Module) -> None:
        self._count += 1
        keep = min(self._decay, self._count / (self._count + 10))
        for mine, theirs in zip(
            self.network.state_dict().values(), network.state_dict().values(), strict=True
        ):
            if mine.is_floating_point():
                mine.lerp_(theirs, 1 - keep)
            else:
                mine.copy_(theirs)


def fit(
    recipe: Recipe,
    training: Sequence[PreparedVolume],
    validation: Sequence[PreparedVolume],
    folder: str | Path,
    reporter: Reporter,
    device: str = "cpu",
    initial: Mapping[str, torch.Tensor] | None = None,
) -> FitResult:
    """Train and return the weights; ``kept.safetensors`` and ``history.json`` in ``folder`` follow.

    ``initial`` weights are where training starts, random ones by default.  Raises Cancelled when the reporter
    is told to stop; what was kept until then stays in ``folder``.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    card, settings = recipe.card, recipe["training"]
    network = build_network(card["network"]["name"], card["network"]["options"]).to(device)
    if initial is not None:
        network.load_state_dict(initial)
    average = WeightAverage(network, settings["weight_average"])
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    schedule = build_schedule(recipe["schedule"])
    loss_of = PrivilegedDice(**recipe["loss"])
    augment = Augmentation(**recipe["augmentation"])
    context = card["inference"]["context"]
    live = None
    if recipe["sampling"].get("live_share"):
        live = LiveTumours(card["preprocessing"], recipe["sampling"]["live_diameter_mm"])
    sampler = SliceSampler(training, context, recipe["sampling"], recipe.seed, live)
    checks = _validation_batches(validation, context, recipe)
    history: list[dict[str, float]] = []
    kept: dict[str, float] = {}
    steps = int(settings["steps_per_epoch"])
    for epoch in range(int(settings["epochs"])):
        started, total = time.perf_counter(), 0.0
        network.train()
        for step in range(steps):
            number = epoch * steps + step
            rate = schedule(epoch + step / steps)
            images, masks = augment(*sampler.batch(number), seed=recipe.seed + number)
            total += _step(
                network, optimiser, images.to(device), masks.to(device), loss_of, epoch, rate, settings
            )
            average.update(network)
            reporter.progress("training", (number + 1) / (steps * int(settings["epochs"])))
        row = {
            "epoch": epoch,
            "loss": total / steps,
            "rate": rate,
            **_validate(average.network, checks, device),
        }
        row["seconds"] = time.perf_counter() - started
        history.append({key: round(value, 6) for key, value in row.items()})
        better = not kept or row["validation_dice"] >= kept["validation_dice"]
        if better or settings["keep"] == "last":
            kept = history[-1]
            write_weights(average.network.state_dict(), folder / KEPT_FILE)
            state = {key: value.clone() for key, value in average.network.state_dict().items()}
        _write_history(history, folder / HISTORY_FILE)
        reporter.log(
            f"epoch {epoch + 1}: loss {row['loss']:.4f}, validation Dice {row['validation_dice']:.4f}, "
            f"{row['seconds']:.0f} s"
        )
    return FitResult(state, history, kept)


def _step(
    network: torch.nn.Module, optimiser: torch.optim.Optimizer, images: torch.Tensor, masks: torch.Tensor,
    loss_of: PrivilegedDice, epoch: int, rate: float, settings: dict[str, Any],
) -> float:  # fmt: skip
    for group in optimiser.param_groups:
        group["lr"] = rate
    with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=settings.get("bfloat16", True)):
        logits = network(images)
    loss = loss_of(logits.float(), masks, epoch)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), settings["gradient_clip"])
    optimiser.step()
    return float(loss.detach())


def _validation_batches(
    validation: Sequence[PreparedVolume], context: Sequence[int], recipe: Recipe
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    if not validation:
        return []
    sampler = SliceSampler(validation, context, {**recipe["sampling"], "slice_zoom": 0.0}, recipe.seed + 1)
    count = -(-int(recipe["training"]["validation_slices"]) // int(recipe["sampling"]["batch"]))
    return [sampler.batch(number) for number in range(count)]


@torch.no_grad()
def _validate(
    network: torch.nn.Module, batches: Sequence[tuple[torch.Tensor, torch.Tensor]], device: str
) -> dict[str, float]:
    """Dice of the thresholded slices, pooled, and the soft Dice."""
    overlap = sizes = 0.0
    soft = []
    for images, masks in batches:
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
            logits = network(images.to(device))
        probability = torch.sigmoid(logits.float()).cpu()
        soft.append(float(soft_dice(probability, masks)))
        found = probability >= 0.5
        overlap += 2 * float((found * masks).sum())
        sizes += float(found.sum() + masks.sum())
    return {
        "validation_dice": (overlap + 1) / (sizes + 1),
        "validation_soft_dice": sum(soft) / max(len(soft), 1),
    }


def _write_history(history: list[dict[str, float]], path: Path) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(history, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, path)
