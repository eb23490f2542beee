"""Batch norm that keeps labelled and other patches of one batch apart.

Patches without labels come from lesions alone.  Mixed into the statistics by which the labelled ones are
normalised, and whole slices later, they cost Dice even where the loss does not count them.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

import torch
from torch import nn
from torch.nn import functional

from SegDLTrainingLib.batch_norm_mode import BatchNormMode, NormCall

_APART: WeakSet[nn.Module] = WeakSet()


def keep_apart(network: nn.Module, groups: int) -> None:
    """Whenever ``network`` trains, normalise each of ``groups`` equal parts of a batch by itself.

    Running statistics follow the first part only.  Asked for again, nothing changes.
    """
    if network in _APART:
        return
    _APART.add(network)
    mode = _Apart(groups)
    open_for: list[bool] = []

    def enter(module: nn.Module, _inputs: Any) -> None:
        open_for.append(module.training)
        if module.training:
            mode.__enter__()

    def leave(_module: nn.Module, _inputs: Any, _output: Any) -> None:
        if open_for.pop():
            mode.__exit__(None, None, None)

    network.register_forward_pre_hook(enter)
    network.register_forward_hook(leave, always_call=True)


class _Apart(BatchNormMode):
    def __init__(self, groups: int):
        super().__init__()
        self._groups = groups

    def normalised(self, call: NormCall) -> torch.Tensor:
        if len(call.input) % self._groups:
            return functional.batch_norm(**vars(call))
        first, *others = call.input.chunk(self._groups)
        parts = [functional.batch_norm(**{**vars(call), "input": first})]
        unseen = {**vars(call), "running_mean": None, "running_var": None}
        parts += [functional.batch_norm(**{**unseen, "input": part}) for part in others]
        return torch.cat(parts)
