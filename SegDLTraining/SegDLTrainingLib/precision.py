"""The arithmetic of a training step: bfloat16 or float16 where it is safe, float32 elsewhere."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from SegDLEngine.errors import InputError

KINDS = {"none": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


def usable_kind(kind: str, device: str, network: torch.nn.Module, patch: Sequence[int]) -> str:
    """``kind``, or "none" where bfloat16 would give wrong gradients.

    On the CPU PyTorch 2.13 computes garbage, finite or not, for the bfloat16 gradient of a 3D kernel whose
    input has just two slices.  ``patch`` (i, j, k) is what the network sees.
    """
    if kind != "bfloat16" or torch.device(device).type != "cpu" or len(patch) != 3:
        return kind
    return "none" if 2 in _depths(network, patch) else kind


def _depths(network: torch.nn.Module, patch: Sequence[int]) -> set[int]:
    """Slices of the inputs of all 3D convolutions but those of kernel 1, found without computing."""
    found: set[int] = set()
    trial = copy.deepcopy(network).to("meta").eval()
    for module in trial.modules():
        if isinstance(module, torch.nn.Conv3d | torch.nn.ConvTranspose3d) and max(module.kernel_size) > 1:
            module.register_forward_pre_hook(lambda _, inputs: found.add(inputs[0].shape[2]))
    channels = int(network.report_input[0])  # type: ignore[index,arg-type]
    with torch.no_grad():
        trial(torch.zeros(1, channels, *reversed(patch), device="meta"))
    return found


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
