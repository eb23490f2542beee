"""Starting from another network's weights (report 003).

A recipe's ``transfer`` says what of them is taken: ``fresh`` names the modules that start anew, by the report
the output layer; ``into`` the module that the given network becomes, as the first stage of a cascade does.
``training.trainable`` says what training may change, by the report the decoder or all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from SegDLEngine.errors import InputError
from SegDLEngine.models.catalogue import Model
from SegDLEngine.networks.genesis_unet2d import flatten_kernels
from SegDLEngine.networks.registry import build_empty, build_network
from SegDLEngine.protocol import Reporter
from torch import nn

from SegDLTrainingLib.recipes import Recipe
from SegDLTrainingLib.start import Start


def initial_weights(
    recipe: Recipe, source: Model | Start, reporter: Reporter | None = None
) -> dict[str, torch.Tensor]:
    """The weights of ``source`` for the network of a recipe's card.

    Without ``transfer`` both networks must be the same.  With it tensors that do not fit are left as the
    network begins, by the recipe's seed, and 3D kernels are flattened for a 2D network; the reporter hears
    what starts anew.  Raises InputError if nothing fits.
    """
    reporter = reporter or Reporter()
    start = source if isinstance(source, Start) else Start.of(source)
    wanted, transfer = recipe.card["network"], recipe.data.get("transfer")
    if transfer is None:
        _check_same(start, wanted)
        return dict(start.state)
    # As random as in a training from scratch, and the same on every process.
    torch.manual_seed(recipe.seed)
    network = build_network(wanted["name"], wanted["options"])
    state = dict(start.state)
    if network.dimensions == 2 and any(tensor.dim() == 5 for tensor in state.values()):
        state = flatten_kernels(state)
    if transfer.get("into"):
        state = {f"{transfer['into']}.{name}": tensor for name, tensor in state.items()}
    fresh = transfer.get("fresh", ())
    taken, left = take_weights(network, state, fresh)
    reporter.log(
        f"{len(taken)} of {len(taken) + len(left)} tensors are those of {start.name}; the others start anew."
    )
    unfit = [name for name in left if not _below(name, fresh)]
    if unfit and not transfer.get("into"):
        some = ", ".join(unfit[:3]) + (" and others" if len(unfit) > 3 else "")
        reporter.warning("transfer", f"{start.name} has no tensors that fit for {some}; they start anew.")
    return network.state_dict()


def _check_same(start: Start, wanted: Mapping[str, Any]) -> None:
    """Raise InputError unless the weights are those of the network ``wanted``, all of them."""
    if start.network is not None:
        same = start.network == wanted
    else:
        own = build_empty(wanted["name"], wanted["options"], "meta").state_dict()
        shapes = {name: tensor.shape for name, tensor in start.state.items()}
        same = shapes == {name: tensor.shape for name, tensor in own.items()}
    if not same:
        raise InputError(
            f"The network of {start.name} is not the recipe's.",
            hint="A recipe with a 'transfer' section takes what fits.",
        )


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
