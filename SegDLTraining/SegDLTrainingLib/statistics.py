"""Batch-norm statistics of frozen layers, estimated anew on the cases that a network is transferred to.

Frozen layers keep normalising by what they saw before: of Models Genesis, CT as 0 to 1, where report 003
fine-tunes on z-scores.  On other grey values such layers may answer with the same to everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from SegDLEngine.networks.registry import build_network
from SegDLEngine.protocol import Reporter
from torch.nn.modules.batchnorm import _BatchNorm

from SegDLTrainingLib.recipes import Recipe
from SegDLTrainingLib.sampling import build_sampler, validation_settings
from SegDLTrainingLib.trainable import choose_trainable
from SegDLTrainingLib.volumes import PreparedVolume

BATCHES = 20


@torch.no_grad()
def with_own_statistics(
    recipe: Recipe,
    state: Mapping[str, torch.Tensor],
    volumes: Sequence[PreparedVolume],
    device: str,
    reporter: Reporter,
) -> dict[str, torch.Tensor]:
    """``state`` with statistics of the training's own batches in those batch norms that it freezes.

    That is what a recipe with a ``transfer`` begins with; a network taken whole, or as the stage of a
    cascade, stays as it is.  The same recipe and cases give the same statistics.
    """
    transfer, patterns = recipe.data.get("transfer"), recipe.phases[0]["training"].get("trainable")
    if transfer is None or transfer.get("into") or not patterns:
        return dict(state)
    network = build_network(recipe.card["network"]["name"], recipe.card["network"]["options"])
    network.load_state_dict(state)
    choose_trainable(network, patterns)
    norms = [module for module in network.eval().modules() if isinstance(module, _BatchNorm)]
    frozen = [norm for norm in norms if not any(each.requires_grad for each in norm.parameters())]
    if not frozen:
        return dict(state)
    for norm in frozen:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean of all batches
        norm.train()
    network.to(device)
    sampler = build_sampler(volumes, recipe.card, validation_settings(recipe["sampling"]), recipe.seed)
    for number in range(BATCHES):
        network(sampler.batch(number)[0].to(device))
        reporter.check()
    reporter.log(f"{len(frozen)} frozen batch norms have the statistics of the training cases.")
    return {name: tensor.cpu() for name, tensor in network.state_dict().items()}
