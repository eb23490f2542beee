"""From trained weights to a model package that the engine can install."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from SegDLEngine.models.card import ENSEMBLE
from SegDLEngine.models.writing import write_package, write_weights

__all__ = ["ensemble_inference", "export_package", "write_weights"]


def ensemble_inference(inference: Mapping[str, Any], networks: int) -> dict[str, Any]:
    """The card's ``inference`` for so many networks: several show their spread by default."""
    kind = inference.get("uncertainty", "none")
    if networks > 1 and kind == "none":
        return {**inference, "uncertainty": ENSEMBLE}
    if networks == 1 and kind == ENSEMBLE:
        return {**inference, "uncertainty": "none"}
    return dict(inference)


def export_package(
    state: Mapping[str, torch.Tensor],
    card: Mapping[str, Any],
    folder: str | Path,
    *,
    training: Mapping[str, Any],
    licence_file: str | Path,
) -> dict[str, Any]:
    """The package of one network, with ``training`` in its card; see ``write_package``, also for folds."""
    data = {**card, "training": {**card.get("training", {}), **training}}
    return write_package([state], data, folder, licence_file=licence_file)
