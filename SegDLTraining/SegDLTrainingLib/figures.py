"""What a finished network reaches, by the definitions of the figures that the reports published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.inference.postprocessing import label_map, postprocess
from SegDLEngine.inference.predict import predict
from SegDLEngine.inference.runtime import choose_runtime
from SegDLEngine.networks.network import Network
from SegDLEngine.protocol import Reporter

from SegDLTrainingLib.recipes import Recipe
from SegDLTrainingLib.uncertainty.slices import report_dice
from SegDLTrainingLib.volumes import PreparedVolume

DICE, MEDIAN, SOFT, BATCH = "dice", "median_dice", "soft_dice", "soft_dice_batch"
DEFINITIONS = {
    DICE: "hard Dice of whole cases at the card's threshold, on the prepared grid; mean of the cases in "
    "which the label is or was found",
    MEDIAN: "hard Dice of whole cases at the card's threshold, on the prepared grid; median of the cases "
    "that have the label",
    SOFT: "2 sum(pt) / (sum p^2 + sum t^2) of the probabilities of whole cases; mean of the cases that have "
    "the label",
    BATCH: "(2 sum(pt) + 100) / (sum p + sum t + 100) of the probabilities of 64 slices at a time, in the "
    "order of the cases; mean of the full batches",
}
# Parts of the cases as the reports call them.
PARTS = ("train", "validation", "test")

Row = dict[str, Any]


def parts_to_measure(
    recipe: Recipe, cases: Mapping[str, Sequence[PreparedVolume]]
) -> dict[str, Sequence[PreparedVolume]]:
    """Validation and test cases, and those of the training if the recipe's report has a figure of them."""
    wanted = any(entry["column"] == "train" or "train" in _names(entry) for entry in recipe.published)
    parts = {"train": cases.get("training", ()) if wanted else ()}
    parts |= {part: cases.get(part, ()) for part in PARTS[1:]}
    return {part: volumes for part, volumes in parts.items() if volumes}


def measure(
    network: Network,
    parts: Mapping[str, Sequence[PreparedVolume]],
    recipe: Recipe,
    card: Mapping[str, Any],
    device: str,
) -> list[Row]:
    """Rows with ``metric``, ``part``, ``name`` (of a label or region), ``value`` and ``cases``.

    Metrics and regions are those of the recipe's published figures, the hard Dice of each label by default.
    ``value`` is None where no case counts.
    """
    metrics = list(dict.fromkeys(entry["metric"] for entry in recipe.published)) or [DICE]
    regions = {label["name"]: [label["value"]] for label in card["labels"]}
    for entry in recipe.published:
        regions |= entry.get("regions", {})
    rows = []
    for part, volumes in parts.items():
        cases = [_Case(network, volume, card, regions, metrics, device) for volume in volumes]
        rows += [
            {"metric": metric, "part": part, "name": name, **_figure(metric, name, cases)}
            for metric in metrics
            for name in regions
        ]
    return rows


def mean_of_folds(folds: Sequence[Sequence[Row]]) -> list[Row]:
    """Rows with the mean of the folds' values; the cases are those of all folds together."""
    gathered: dict[tuple[str, str, str], list[Row]] = {}
    for row in (row for rows in folds for row in rows):
        gathered.setdefault((row["metric"], row["part"], row["name"]), []).append(row)
    means = []
    for (metric, part, name), rows in gathered.items():
        values = [row["value"] for row in rows if row["value"] is not None]
        mean = round(float(np.mean(values)), 4) if values else None
        cases = sum(row["cases"] for row in rows)
        means.append({"metric": metric, "part": part, "name": name, "value": mean, "cases": cases})
    return means


class _Case:
    """Sums over one case for each region, of its masks and its probabilities."""

    def __init__(
        self, network: Network, volume: PreparedVolume, card: Mapping[str, Any],
        regions: Mapping[str, Sequence[int]], metrics: Sequence[str], device: str,
    ):  # fmt: skip
        settings, values = card["inference"], [label["value"] for label in card["labels"]]
        channels = np.asarray(volume.image, dtype=np.float32)
        # Soft figures are sums of probabilities, which half precision would shift.
        runtime = choose_runtime(device, "fp32")
        probability = predict(network, channels, settings, runtime, Reporter()).probability
        found = _cleaned(
            label_map(probability, values, settings["threshold"], settings["activation"]), volume, card
        )
        self.hard: dict[str, tuple[int, int, int]] = {}
        self.soft: dict[str, tuple[float, float, float]] = {}
        self.slices: dict[str, list[dict[str, float]]] = {}
        for name, members in regions.items():
            truth, mine = np.isin(volume.labels, members), np.isin(found, members)
            self.hard[name] = (int((truth & mine).sum()), int(truth.sum()), int(mine.sum()))
            layers = probability[[values.index(value) for value in members]]
            # Labels exclude each other, so the probabilities of a region's labels add up.
            whole = layers[0] if len(layers) == 1 else np.minimum(layers.sum(axis=0), 1)
            if SOFT in metrics:
                squares = float((whole.astype(np.float64) ** 2).sum())
                self.soft[name] = (float(whole[truth].sum(dtype=np.float64)), squares, float(truth.sum()))
            if BATCH in metrics:
                self.slices[name] = [
                    {
                        "soft_overlap": float(p[t].sum(dtype=np.float64)),
                        "soft_found": float(p.sum(dtype=np.float64)),
                        "truth": float(t.sum()),
                    }
                    for p, t in zip(whole, truth, strict=True)
                ]


def _cleaned(found: np.ndarray, volume: PreparedVolume, card: Mapping[str, Any]) -> np.ndarray:
    """Without what the card's rules for components remove; its masks are no longer there."""
    rules = [entry for entry in card["postprocessing"] if entry["step"] == "components"]
    if not rules:
        return found
    return postprocess(Image(found, Grid(found.shape[::-1], volume.spacing)), {}, rules).array


def _figure(metric: str, name: str, cases: Sequence[_Case]) -> Row:
    if metric == BATCH:
        slices = [row for case in cases for row in case.slices[name]]
        return _row([report_dice(slices)] if slices else [], len(cases))
    if metric == SOFT:
        sums = [case.soft[name] for case in cases if case.soft[name][2]]
        return _row([2 * overlap / (found + truth) for overlap, found, truth in sums])
    hard = [case.hard[name] for case in cases]
    if metric == MEDIAN:
        dices = [2 * overlap / (truth + found) for overlap, truth, found in hard if truth]
        return _row([float(np.median(dices))] if dices else [], len(dices))
    return _row([2 * overlap / (truth + found) for overlap, truth, found in hard if truth + found])


def _row(values: Sequence[float | None], cases: int | None = None) -> Row:
    known = [value for value in values if value is not None]
    mean = round(float(np.mean(known)), 4) if known else None
    return {"value": mean, "cases": len(known) if cases is None else cases}


def _names(entry: Mapping[str, Any]) -> Sequence[str]:
    return list(entry["value"]) if isinstance(entry["value"], dict) else []
