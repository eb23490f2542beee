"""Which parts of a network a phase changes."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import torch
from SegDLEngine.errors import InputError
from torch import nn


def choose_trainable(network: nn.Module, patterns: Sequence[str]) -> None:
    """Let training change the parameters whose names match one of ``patterns`` ("output.*"), no others.

    Raises InputError for a pattern that matches nothing.
    """
    names = [name for name, _ in network.named_parameters()]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise InputError(
                f"The recipe's training.trainable '{pattern}' matches no parameter of the network.",
                hint=f"Its parameters: {', '.join(names[:4])}, ..., {names[-1]}.",
            )
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(any(fnmatchcase(name, pattern) for pattern in patterns))


def set_training(network: nn.Module) -> None:
    """Training mode, except for normalisation layers of frozen parts: their statistics stay too."""
    network.train()
    modules = dict(network.named_modules())
    for name, module in modules.items():
        if not any(True for _ in module.buffers(recurse=False)):
            continue
        own = list(module.parameters(recurse=False))
        around = own or list(modules[name.rpartition(".")[0]].parameters())
        if around and not any(parameter.requires_grad for parameter in around):
            module.eval()


def unused_parameters(network: nn.Module, images: torch.Tensor) -> list[nn.Parameter]:
    """Trainable parameters that the output does not depend on; gradients must be empty before."""
    network(images).float().sum().backward()
    unused = [p for p in network.parameters() if p.requires_grad and p.grad is None]
    network.zero_grad(set_to_none=True)
    return unused
