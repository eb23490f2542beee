"""Starting from another network's weights (report 003).

A recipe's ``transfer`` says what of them is taken: ``fresh`` names the modules that start anew, by the report
the output layer, and ``training.trainable`` what training may change, by the report the decoder or all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from SegDLEngine.errors import InputError
from SegDLEngine.models.catalogue import Model
from SegDLEngine.networks.genesis_unet2d import flatten_kernels
from SegDLEngine.networks.registry import build_network
from torch import nn


def initial_weights(
    card: Mapping[str, Any], source: Model, transfer: Mapping[str, Any] | None
) -> dict[str, torch.Tensor]:
    """The weights of ``source`` for the network of a recipe's ``card``.

    Without ``transfer`` both networks must be the same.  With it tensors that do not fit are left as the
    network begins, and 3D kernels are flattened for a 2D network.  Raises InputError if nothing fits.
    """
    wanted = card["network"]
    if transfer is None:
        if source.card.network != wanted:
            raise InputError(
                f"The network of {source.id} is not the recipe's.",
                hint="A recipe with a 'transfer' section takes what fits.",
            )
        return source.build().state_dict()
    network = build_network(wanted["name"], wanted["options"])
    state = source.build().state_dict()
    if network.dimensions == 2 and any(tensor.dim() == 5 for tensor in state.values()):
        state = flatten_kernels(state)
    take_weights(network, state, transfer.get("fresh", ()))
    return network.state_dict()


def take_weights(
    network: nn.Module, state: Mapping[str, torch.Tensor], fresh: Sequence[str] = ()
) -> tuple[list[str], list[str]]:
    """Copy the tensors of ``state`` that fit into ``network``, but none below the module names ``fresh``.

    Returns the names taken and the network's names left as they were.  Raises InputError if nothing fits or
    the network has no such module.
    """
    modules = dict(network.named_modules())
    for name in fresh:
        if name not in modules:
            top = ", ".join(child for child, _ in network.named_children())
            raise InputError(f"The network has no module '{name}'.", hint=f"Its parts: {top}.")
    own = network.state_dict()
    taken = {
        name: tensor.to(own[name])
        for name, tensor in state.items()
        if name in own and own[name].shape == tensor.shape and not _below(name, fresh)
    }
    if not taken:
        raise InputError(
            "None of the given weights fits the network.",
            hint="Both must be the same kind of network.",
        )
    network.load_state_dict({**own, **taken})
    return sorted(taken), sorted(set(own) - set(taken))


def _below(name: str, modules: Sequence[str]) -> bool:
    return any(name == module or name.startswith(module + ".") for module in modules)
