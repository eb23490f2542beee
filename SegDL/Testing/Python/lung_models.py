"""The cards of report 003 with small networks, and lung weights that are made by hand."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from seeded_model import write_seeded_package
from SegDLEngine.models.catalogue import load_model
from SegDLEngine.models.writing import write_package
from SegDLEngine.networks.registry import build_network

LUNGS = "lungs-r231-unet2d"
COVID = ("covid-infection-unet2d", "covid-infection-attention-unet2d", "covid-infection-genesis-unet2d")
SMALL: dict[str, dict[str, Any]] = {
    "covid-infection-unet2d": {"filters": 4, "depth": 3},
    "covid-infection-attention-unet2d": {"filters": 2},
    "covid-infection-genesis-unet2d": {"filters": 2},
    LUNGS: {"filters": 1, "depth": 2},
}


def small_card(name: str) -> dict[str, Any]:
    """The shipped card with a small network."""
    card = copy.deepcopy(load_model(name, need_weights=False).card.data)
    card["network"]["options"] |= SMALL[name]
    return card


def write_lungs_by_threshold(folder: Path) -> Path:
    """A package of the lung card that labels air (darker than -504 HU) 1 and bone (from 276 HU on) 2."""
    card = small_card(LUNGS)
    network = build_network(card["network"]["name"], card["network"]["options"])
    state = {name: torch.zeros_like(value) for name, value in network.state_dict().items()}
    for name in state:
        if name.endswith(("running_var", "block.2.weight", "block.5.weight")):
            state[name] += 1
    for level in ("down_path.0", "up_path.0.conv_block"):
        state[f"{level}.block.0.weight"][0, -1, 1, 1] = 1
        state[f"{level}.block.3.weight"][0, 0, 1, 1] = 1
    state["last.weight"][1:, 0, 0, 0] = torch.tensor([-200.0, 200.0])
    state["last.bias"][1:] = torch.tensor([200 * 0.32, -200 * 0.8])
    write_package([state], card, folder, licence_text="Apache-2.0, as the repository.\n")
    return folder


def covid_package(folder: Path, name: str, method: str = "classical") -> Path:
    """A seeded package of a card of report 003 that finds the lungs by ``method``."""
    card = small_card(name)
    step = next(entry for entry in card["preprocessing"] if entry["step"] == "lung_mask")
    step["method"] = method
    return write_seeded_package(folder / name, card, seed=4)
