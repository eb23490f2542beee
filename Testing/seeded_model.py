"""A model package with freshly initialised, seeded weights for any card: it finds nothing in particular."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Options that make a network small enough for tests, without changing its layout or its size rules.
REDUCED: dict[str, dict[str, Any]] = {
    "se_resunet3d": {"filters": 2},
    "rrse_unet3d": {"filters": 2},
    "baseline_unet3d": {"filters": 2},
    "input_cascade_cnn": {"filters": [2, 2]},
    "unet2d": {"filters": 2},
    "res_unet2d": {"filters": [2, 3, 4, 4, 4]},
}


def reduced_card(data: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A copy of a card without weights whose network is reduced; ``changes`` replace top-level keys."""
    card = {**copy.deepcopy(dict(data)), **changes}
    card.pop("weights", None)
    card["network"]["options"].update(REDUCED.get(card["network"]["name"], {}))
    return card


def write_seeded_package(folder: Path, data: Mapping[str, Any], *, seed: int = 1, folds: int = 1) -> Path:
    """A package of the card ``data``; the running statistics of batch norms are those of one random batch."""
    import torch
    from SegDLEngine.models.writing import write_package
    from SegDLEngine.networks.registry import build_network

    states = []
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for fold in range(folds):
            torch.manual_seed(seed + fold)
            network = build_network(data["network"]["name"], data["network"]["options"]).train()
            if any(True for _ in network.buffers()):
                side = 2 * network.divisible_by
                network(torch.randn(2, network.report_input[0], *[side] * network.dimensions))
            states.append(network.state_dict())
    write_package(states, data, folder, licence_text="Apache-2.0, as the repository.\n")
    return folder
