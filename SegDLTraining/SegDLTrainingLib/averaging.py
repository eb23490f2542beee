"""Exponential moving average of a network while it trains."""

from __future__ import annotations

import copy

import torch
from SegDLEngine.networks.network import Network


class WeightAverage:
    """Average of weights and batch-norm statistics; ``decay`` 0 follows the network."""

    def __init__(self, network: Network, decay: float):
        self.network: Network = copy.deepcopy(network)
        self.network.eval()
        self._decay = decay
        self.count = 0

    @torch.no_grad()
    def update(self, network: torch.nn.Module) -> None:
        self.count += 1
        keep = min(self._decay, self.count / (self.count + 10))
        for mine, theirs in zip(
            self.network.state_dict().values(), network.state_dict().values(), strict=True
        ):
            if mine.is_floating_point():
                mine.lerp_(theirs, 1 - keep)
            else:
                mine.copy_(theirs)
