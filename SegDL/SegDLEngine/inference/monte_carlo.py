"""Monte Carlo dropout: the spread of predictions when dropout stays on (Gal and Ghahramani 2016)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from SegDLEngine.errors import ModelError

Dropout = nn.Dropout | nn.Dropout1d | nn.Dropout2d | nn.Dropout3d
_CHANNELWISE = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


def dropout_modules(network: nn.Module) -> list[Dropout]:
    """The network's dropout modules, in the order of its definition.

    Raises ModelError if there are none: such a network has no Monte Carlo uncertainty.
    """
    found = [module for module in network.modules() if isinstance(module, Dropout)]
    if not found:
        raise ModelError(
            "The network has no dropout layers, so it cannot give Monte Carlo uncertainty.",
            hint="Run it with samples=0.",
        )
    return found


@contextmanager
def sampled_dropout(network: nn.Module, seed: int, sample: int, items: Sequence[int]) -> Iterator[None]:
    """Within this context every dropout module drops; all other modules stay as they are (evaluation).

    ``items`` number the entries of the batch (slice or window numbers).  Each mask depends on seed, sample,
    item and layer alone: not on the batch size, on other random numbers, or on how often a layer was run.
    """
    handles = [
        module.register_forward_hook(_dropper(module.p, seed, sample, items, layer))
        for layer, module in enumerate(dropout_modules(network))
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _dropper(rate: float, seed: int, sample: int, items: Sequence[int], layer: int) -> Callable[..., Any]:
    def drop(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        features = inputs[0]
        if rate == 0:
            return features
        keep = 1.0 - rate
        spatial = (1,) * (features.dim() - 2) if isinstance(module, _CHANNELWISE) else features.shape[2:]
        shape = (features.shape[1], *spatial)
        masks = torch.empty((len(items), *shape), dtype=features.dtype, device=features.device)
        for mask, item in zip(masks, items, strict=True):
            generator = torch.Generator(features.device).manual_seed(_mix(seed, sample, item, layer))
            mask.bernoulli_(keep, generator=generator)
        return features * masks.div_(keep) if keep > 0 else torch.zeros_like(features)

    return drop


def _mix(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


class RunningSpread:
    """How passes differ, from running sums, without keeping the passes: probabilities (N, classes, ...).

    Sums are taken of the differences from ``start`` (the deterministic pass), so that squares do not cancel
    in float32 and equal passes give exactly zero.
    """

    def __init__(self, start: torch.Tensor, activation: str):
        self._start = start
        self._activation = activation
        self._sum = torch.zeros_like(start)
        self._squares = torch.zeros_like(start)
        self._start_entropy = entropy(start, activation)
        self._entropies = torch.zeros_like(self._start_entropy)
        self._count = 0

    def add(self, probability: torch.Tensor) -> None:
        difference = probability - self._start
        self._sum += difference
        self._squares.addcmul_(difference, difference)
        self._entropies += entropy(probability, self._activation) - self._start_entropy
        self._count += 1

    def mean(self) -> torch.Tensor:
        return (self._start + self._sum / self._count).clamp_(0, 1)

    def std(self) -> torch.Tensor:
        """Population standard deviation (division by the number of passes)."""
        variance = self._squares / self._count - (self._sum / self._count) ** 2
        return variance.clamp_(0, 0.25).sqrt_()

    def entropy(self) -> torch.Tensor:
        """Of the mean, see ``entropy``: the whole uncertainty."""
        return entropy(self.mean(), self._activation)

    def mutual_information(self) -> torch.Tensor:
        """Entropy of the mean less the mean of the passes' entropies: what the passes disagree about.

        In nats, with the shape of ``entropy``; between 0 and that (Houlsby et al. 2011, Smith and Gal 2018).
        """
        expected = self._start_entropy + self._entropies / self._count
        return (self.entropy() - expected).clamp_(min=0)


def entropy(probability: torch.Tensor, activation: str) -> torch.Tensor:
    """Entropy in nats of probabilities (N, classes, ...): per class for "sigmoid", over all for "softmax"."""
    terms = -torch.xlogy(probability, probability)
    if activation == "softmax":
        return terms.sum(dim=1, keepdim=True)
    rest = 1 - probability
    return terms - torch.xlogy(rest, rest)


def foreground_entropy(probability: np.ndarray, activation: str) -> np.ndarray:
    """Entropy in nats of the probabilities of the foreground labels (L, ...), as ``entropy`` of all classes.

    (L, ...) for "sigmoid", (1, ...) for "softmax", whose background has the rest.
    """
    classes = probability
    if activation == "softmax":
        background = np.clip(1 - probability.sum(axis=0, keepdims=True), 0, 1)
        classes = np.concatenate([background, probability])
    return entropy(torch.from_numpy(classes)[None], activation)[0].numpy()
