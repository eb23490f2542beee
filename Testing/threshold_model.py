"""A model whose weights are set by hand: its network is a threshold on the grey value.

What it must find in an image is known exactly, so tests can judge the whole way through.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tiny_model import tiny_card

# HU -1000..200 become 0..1; the foreground begins half-way, at -400 HU.
LEVEL_HU = -400
_CHANGES: dict[str, Any] = {
    "id": "threshold",
    "title": "Threshold written as a network",
    "preprocessing": [
        {"step": "canonical", "spacing": [2.0, 2.0, 3.0], "outside": -1000},
        {"step": "window", "low": -1000, "high": 200},
    ],
    "postprocessing": [{"step": "components", "minimum_slices": 2, "minimum_ml": 0.3, "keep": "all"}],
}


def threshold_card(labels: int = 1, **changes: Any) -> dict[str, Any]:
    card = tiny_card(**{**copy.deepcopy(_CHANGES), **changes})
    options = {"filters": 1, "depth": 2, "head_channels": 1, "out_channels": labels}
    card["network"] = {"name": "lung_unet2d", "options": {"in_channels": len(card["inputs"]), **options}}
    first = card["labels"][0]
    card["labels"] = [{**first, "value": 10 * n + 1, "name": f"Label {n}"} for n in range(labels)]
    return card


def write_threshold_package(
    folder: Path, slopes: Sequence[float] = (40.0,), levels: Sequence[float] = (0.5,), **changes: Any
) -> Path:
    """A package whose label n has the logit ``slopes[n] * (x - levels[n])`` of the prepared value x, 0..1.

    A second input is subtracted from the first.
    """
    import safetensors.torch
    import torch
    from SegDLEngine.networks.registry import build_network

    card = threshold_card(len(slopes), **changes)
    network = build_network("lung_unet2d", card["network"]["options"])
    tensors = {name: torch.zeros_like(tensor) for name, tensor in network.state_dict().items()}
    for unit in ("encoder.0.0", "encoder.0.1", "decoder.0.first", "decoder.0.second", "head"):
        tensors[f"{unit}.conv.weight"][0, 0, 1, 1] = 1.0
    tensors["encoder.0.0.conv.weight"][:, 1:, 1, 1] = -1.0
    for label, (slope, level) in enumerate(zip(slopes, levels, strict=True)):
        tensors["output.weight"][label] = slope
        tensors["output.bias"][label] = -slope * level
    folder.mkdir(parents=True)
    content = safetensors.torch.save(tensors)
    (folder / "weights.safetensors").write_bytes(content)
    card["weights"] = {"file": "weights.safetensors", "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "model.json").write_text(json.dumps(card, indent=1), encoding="utf-8")
    (folder / "LICENSE.txt").write_text("Apache-2.0, as the repository.\n", encoding="utf-8")
    return folder
