"""The arithmetic of a training step: bfloat16 or float16 where it is safe, float32 elsewhere."""

from __future__ import annotations

from typing import Any

import torch
from SegDLEngine.errors import InputError

KINDS = {"none": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Precision:
    """``kind`` "none", "bfloat16" or "float16", which scales the loss so that small gradients survive."""

    def __init__(self, kind: str, device: str):
        if kind not in KINDS:
            raise InputError(
                f"The recipe's training.mixed_precision '{kind}' is unknown.",
                hint=f"Known: {', '.join(KINDS)}.",
            )
        self._type = KINDS[kind]
        self._device = torch.device(device).type
        self.scaler = torch.amp.GradScaler(self._device, enabled=kind == "float16")

    def autocast(self) -> torch.autocast:
        return torch.autocast(
            self._device, dtype=self._type or torch.bfloat16, enabled=self._type is not None
        )

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return self.scaler.state_dict()

    def restore(self, state: dict[str, Any]) -> None:
        if state:
            self.scaler.load_state_dict(state)
