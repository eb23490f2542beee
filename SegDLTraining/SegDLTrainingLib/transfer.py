"""Starting from another network's weights: which are taken, which are frozen, which start anew (report 003).

The report's three ways: fine-tune the decoder only (the encoder is frozen, batch-norm statistics included),
fine-tune all, or start from scratch.  In the first two the output layer starts anew, and in the second
optionally also the last decoder block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from SegDLEngine.errors import InputError
from torch import nn

STRATEGIES = ("decoder", "all", "scratch")


def take_weights(
    network: nn.Module, state: Mapping[str, torch.Tensor], fresh: Sequence[str] = ()
) -> tuple[list[str], list[str]]:
    """Copy the tensors of ``state`` that fit into ``network``, but none below the module names ``fresh``.

    Returns the names taken and the network's names left as they were.  Raises InputError if nothing fits.
    """
    own = network.state_dict()
    _check_modules(network, fresh)
    taken = {
        name: tensor.to(own[name])
        for name, tensor in state.items()
        if name in own and own[name].shape == tensor.shape and not _below(name, fresh)
    }
    if not taken:
        raise InputError(
            "None of the given weights fits the network.",
            hint="Both must be the same kind of network; flatten 3D weights for a 2D one.",
        )
    network.load_state_dict({**own, **taken})
    return sorted(taken), sorted(set(own) - set(taken))


class Freezer:
    """Keeps the modules ``frozen`` of a network as they are, their batch-norm statistics included."""

    def __init__(self, network: nn.Module, frozen: Sequence[str]):
        _check_modules(network, frozen)
        modules = dict(network.named_modules())
        self._modules = [modules[name] for name in frozen]
        for module in self._modules:
            module.requires_grad_(False)

    def train(self, network: nn.Module) -> None:
        """``network.train()`` for all but the frozen modules; call it before every epoch."""
        network.train()
        for module in self._modules:
            module.eval()


def encoder_modules(network: nn.Module, half: bool = False) -> list[str]:
    """Names of the modules of the contracting path of a network that has ``encoder_names``.

    ``half``: only its first half, which one sentence of the report has.
    """
    names = list(getattr(network, "encoder_names", ()))
    if not names:
        raise InputError(
            f"{type(network).__name__} does not say which modules are its encoder.",
            hint="Name them in the recipe: transfer.frozen.",
        )
    return names[: len(names) // 2] if half else names


def _check_modules(network: nn.Module, names: Sequence[str]) -> None:
    known = dict(network.named_modules())
    for name in names:
        if name not in known:
            top = ", ".join(child for child, _ in network.named_children())
            raise InputError(f"The network has no module '{name}'.", hint=f"Its parts: {top}.")


def _below(name: str, modules: Sequence[str]) -> bool:
    return any(name == module or name.startswith(module + ".") for module in modules)
