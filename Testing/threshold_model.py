"""A model whose weights are set by hand: its network is a threshold on the grey value.

What it must find in an image is known exactly, so tests can judge the whole way through.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
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
    card = threshold_card(len(slopes), **changes)
    return _write(folder, card, threshold_tensors(card, slopes, levels))


def threshold_tensors(
    card: Mapping[str, Any], slopes: Sequence[float], levels: Sequence[float]
) -> dict[str, Any]:
    """The weights of ``write_threshold_package`` for the network of ``card``."""
    import torch
    from SegDLEngine.networks.registry import build_network

    network = build_network("lung_unet2d", card["network"]["options"])
    tensors = {name: torch.zeros_like(tensor) for name, tensor in network.state_dict().items()}
    for unit in ("encoder.0.0", "encoder.0.1", "decoder.0.first", "decoder.0.second", "head"):
        tensors[f"{unit}.conv.weight"][0, 0, 1, 1] = 1.0
    tensors["encoder.0.0.conv.weight"][:, 1:, 1, 1] = -1.0
    for label, (slope, level) in enumerate(zip(slopes, levels, strict=True)):
        tensors["output.weight"][label] = slope
        tensors["output.bias"][label] = -slope * level
    return tensors


def write_threshold_package_3d(folder: Path, slope: float = 40.0, level: float = 0.5, **changes: Any) -> Path:
    """The same for one input as a 3D network over windows, 16 x 16 x 8 voxels by default."""
    from SegDLEngine.networks.registry import build_network

    inference = {"mode": "windows", "patch": [16, 16, 8], "overlap": 0.25, "activation": "sigmoid"}
    inference |= {"threshold": 0.5, "uncertainty": "monte_carlo_dropout"}
    card = threshold_card(**{"inference": inference, **changes})
    card["network"] = {"name": "unet3d_69k", "options": {"in_channels": 1}}
    network = build_network("unet3d_69k", card["network"]["options"])
    tensors = {name: tensor.clone().zero_() for name, tensor in network.state_dict().items()}
    for unit, channel in (("encoder.0", 0), ("decoder.1", 20)):
        tensors[f"{unit}.0.weight"][0, channel, 1, 1, 1] = 1.0
        tensors[f"{unit}.2.weight"][0] = 1.0
        tensors[f"{unit}.2.running_var"][:] = 1 - 1e-3
    tensors["output.weight"][0, 0] = slope
    tensors["output.bias"][0] = -slope * level
    return _write(folder, card, tensors)


def _write(folder: Path, card: dict[str, Any], tensors: Mapping[str, Any]) -> Path:
    import safetensors.torch

    folder.mkdir(parents=True)
    content = safetensors.torch.save(tensors)
    (folder / "weights.safetensors").write_bytes(content)
    card["weights"] = {"file": "weights.safetensors", "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "model.json").write_text(json.dumps(card, indent=1), encoding="utf-8")
    (folder / "LICENSE.txt").write_text("Apache-2.0, as the repository.\n", encoding="utf-8")
    return folder
