"""Weights saved while a network is trained, which ``segdl-train svcca --stages`` compares (report 003)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from SegDLTrainingLib.checkpoint import Position, write_tensors

STAGES_FOLDER = "stages"


def write_stage(
    folder: Path, settings: Mapping[str, Any] | None, position: Position, steps: int, network: torch.nn.Module
) -> None:
    """Write ``network`` as ``stages/stage-NUMBER.safetensors`` if ``training.stages`` wants it now.

    ``settings``: ``every`` so many ``of`` "steps" (default) or "epochs"; None for no stages.  ``position`` is
    that after a step, or 0 for what the training starts from, which is always written; ``steps`` are those of
    an epoch.  Raises SegDLError when the disk is full.
    """
    if not settings:
        return
    every, unit = int(settings["every"]), settings.get("of", "steps")
    at_end = position.step == steps
    due = position.number % every == 0 if unit == "steps" else at_end and (position.epoch + 1) % every == 0
    if due or position.number == 0:
        path = folder / STAGES_FOLDER / f"stage-{position.number:08d}.safetensors"
        path.parent.mkdir(exist_ok=True)
        write_tensors(path, network.state_dict(), {"step": str(position.number)})
