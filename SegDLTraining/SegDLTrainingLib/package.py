"""From trained weights to a model package that the engine can install."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from SegDLEngine.models.card import CARD_FILE, check_card
from SegDLEngine.models.package import WEIGHTS_FILE, sha256_of, verify


def write_weights(state: Mapping[str, torch.Tensor], path: Path) -> None:
    """safetensors, written beside the target and moved into place, so that a kill leaves no half file."""
    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()})
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    os.replace(partial, path)


def export_package(
    state: Mapping[str, torch.Tensor],
    card: Mapping[str, Any],
    folder: str | Path,
    *,
    training: Mapping[str, Any],
    licence_file: str | Path,
) -> dict[str, Any]:
    """Write card, weights and licence into ``folder`` and verify them; returns what ``verify`` reports.

    Weights are stored in half precision, which halves the package; the engine widens them when it loads.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    write_weights(half, folder / WEIGHTS_FILE)
    data = copy.deepcopy(dict(card))
    data["training"] = {**data.get("training", {}), **training}
    data["weights"] = {"file": WEIGHTS_FILE, "sha256": sha256_of(folder / WEIGHTS_FILE)}
    check_card(data, str(folder / CARD_FILE))
    shutil.copyfile(licence_file, folder / data["licence"]["file"])
    partial = folder / (CARD_FILE + ".partial")
    partial.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, folder / CARD_FILE)
    return verify(folder)
