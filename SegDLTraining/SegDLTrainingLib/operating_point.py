"""The threshold of the card, chosen on the generated validation volumes: where whole tumours are found best.

At each candidate the card's component rules are applied; a found component counts as right if it meets a
tumour.  The best F1 of tumours found and components right wins; the middle one of equals is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import cc3d
import numpy as np
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.inference.postprocessing import postprocess
from SegDLEngine.inference.predict import predict
from SegDLEngine.inference.runtime import choose_runtime
from SegDLEngine.networks.network import Network
from SegDLEngine.protocol import Reporter

from SegDLTrainingLib.volumes import PreparedVolume

CANDIDATES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def predict_volumes(
    network: Network, volumes: Sequence[PreparedVolume], card: Mapping[str, Any], device: str
) -> Iterator[np.ndarray]:
    """Probability (k, j, i) of each volume, as the engine computes it."""
    runtime = choose_runtime(device, "auto")
    for volume in volumes:
        channels = np.asarray(volume.image, dtype=np.float32)
        yield predict(network, channels, card["inference"], runtime, Reporter()).probability[0]


def operating_points(
    probabilities: Iterable[np.ndarray],
    volumes: Sequence[PreparedVolume],
    card: Mapping[str, Any],
    candidates: Sequence[float] = CANDIDATES,
) -> list[dict[str, float]]:
    """One row a threshold: tumours there and found, components right and wrong, false ml, mean Dice."""
    rules = [entry for entry in card["postprocessing"] if entry["step"] == "components"]
    rows = {value: _empty_row(value) for value in candidates}
    dices: dict[float, list[float]] = {value: [] for value in candidates}
    for volume, probability in zip(volumes, probabilities, strict=True):
        for value, row in rows.items():
            found = _components(probability >= value, volume, rules)
            _count(row, found, volume)
            if volume.labels.any():
                overlap = 2 * (found & (volume.labels > 0)).sum()
                dices[value].append(float(overlap / (found.sum() + (volume.labels > 0).sum())))
    for value, row in rows.items():
        row["dice"] = round(float(np.mean(dices[value])), 4) if dices[value] else 0.0
        recall = row["found"] / max(row["tumours"], 1)
        precision = row["right"] / max(row["right"] + row["wrong"], 1)
        row["f1"] = round(2 * recall * precision / max(recall + precision, 1e-9), 4)
    return list(rows.values())


def best_threshold(rows: Sequence[Mapping[str, float]]) -> float:
    """The threshold of the best F1; of equal ones the middle."""
    highest = max(row["f1"] for row in rows)
    equal = [row["threshold"] for row in rows if row["f1"] >= highest - 1e-9]
    return equal[len(equal) // 2]


def _empty_row(threshold: float) -> dict[str, float]:
    return {"threshold": threshold, "tumours": 0, "found": 0, "right": 0, "wrong": 0, "false_ml": 0.0}


def _components(inside: np.ndarray, volume: PreparedVolume, rules: Sequence[Mapping[str, Any]]) -> np.ndarray:
    grid = Grid(inside.shape[::-1], volume.spacing)
    return postprocess(Image(inside.astype(np.uint8), grid), {}, rules).array > 0


def _count(row: dict[str, float], found: np.ndarray, volume: PreparedVolume) -> None:
    tumours = cc3d.connected_components(volume.labels > 0, connectivity=26)
    parts = cc3d.connected_components(found, connectivity=26)
    met = found & (tumours > 0)
    right = np.unique(parts[met])
    wrong = np.setdiff1d(np.unique(parts[parts > 0]), right)
    row["tumours"] += int(tumours.max())
    row["found"] += len(np.unique(tumours[met]))
    row["right"] += len(right)
    row["wrong"] += len(wrong)
    row["false_ml"] = round(row["false_ml"] + float(np.isin(parts, wrong).sum()) * volume.voxel_ml, 3)
