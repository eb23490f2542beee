"""A very small model package with seeded weights, for tests of everything around a network."""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

CARD: dict[str, Any] = {
    "schema": "segdl-model-card-1",
    "id": "tiny-tumor",
    "version": "1.0.0",
    "title": "Tiny network for tests",
    "task": "Dense voxels in a CT.",
    "description": "Random weights; it finds nothing in particular.",
    "inputs": [{"name": "CT", "modality": "CT", "unit": "HU", "required": True}],
    "labels": [
        {
            "value": 1,
            "name": "Tumour",
            "color": [200, 80, 60],
            "terminology": {
                "category": {
                    "scheme": "SCT",
                    "code": "49755003",
                    "meaning": "Morphologically Altered Structure",
                },
                "type": {"scheme": "SCT", "code": "86049000", "meaning": "Neoplasm, Primary"},
            },
        }
    ],
    "network": {"name": "lung_unet2d", "options": {"filters": 2, "depth": 3}},
    "preprocessing": [{"step": "harmonise"}, {"step": "scale", "offset": 0.0, "factor": 0.0222}],
    "inference": {
        "mode": "slices",
        "context": [0],
        "batch": 8,
        "activation": "sigmoid",
        "threshold": 0.5,
        "uncertainty": "monte_carlo_dropout",
        "samples": 0,
    },
    "postprocessing": [{"step": "components", "minimum_slices": 1, "keep": "all"}],
    "training": {"seed": 3},
    "results": [],
    "licence": {"spdx": "Apache-2.0", "file": "LICENSE.txt"},
    "intended_use": "Tests. Not for clinical use.",
}


def tiny_card(**changes: Any) -> dict[str, Any]:
    """A copy of the card without weights; ``changes`` replace top-level keys."""
    return {**copy.deepcopy(CARD), **changes}


def write_tiny_package(folder: Path, *, bias: float = 0.0, half: bool = False, **changes: Any) -> Path:
    """A complete package in ``folder``; the last convolution's bias decides how much is foreground."""
    import safetensors.torch
    import torch
    from SegDLEngine.networks.registry import build_network

    card = tiny_card(**changes)
    generator = torch.Generator().manual_seed(3)
    network = build_network(card["network"]["name"], card["network"]["options"])
    tensors = {}
    for name, tensor in network.state_dict().items():
        random = torch.randn(tensor.shape, generator=generator) * 0.3
        tensors[name] = random.half() if half else random
    last = [name for name in tensors if name.endswith("bias")][-1]
    tensors[last] = torch.full_like(tensors[last], bias)
    folder.mkdir(parents=True, exist_ok=True)
    content = safetensors.torch.save(tensors)
    (folder / "weights.safetensors").write_bytes(content)
    card["weights"] = {"file": "weights.safetensors", "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "model.json").write_text(json.dumps(card, indent=1), encoding="utf-8")
    (folder / "LICENSE.txt").write_text("Apache-2.0, as the repository.\n", encoding="utf-8")
    return folder
