"""Changes of grey values: gamma, gain, noise.  Labels stay as they are."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from SegDLTrainingLib.augmentation.registry import Pair, augmentation
from SegDLTrainingLib.draws import Draws


@augmentation("gamma")
def gamma(
    images: torch.Tensor,
    labels: torch.Tensor,
    draws: Draws,
    low: float = 0.8,
    high: float = 1.25,
    chance: float = 1.0,
) -> Pair:
    """Raise each channel, scaled to 0..1, to a power in [low, high], then scale it back.

    Scaling first keeps negative, z-scored values from becoming undefined.
    """
    axes = tuple(range(2, images.dim()))
    ones = (1,) * (images.dim() - 2)
    power = draws.uniform(low, high, images.shape[1], *ones)
    power = torch.where(draws.chance(chance, 1, *ones), power, torch.ones_like(power))
    smallest, largest = images.amin(dim=axes, keepdim=True), images.amax(dim=axes, keepdim=True)
    span = (largest - smallest).clamp_min(1e-6)
    return smallest + span * ((images - smallest) / span).clamp(0, 1) ** power, labels


@augmentation("gain")
def gain(
    images: torch.Tensor,
    labels: torch.Tensor,
    draws: Draws,
    factor: float = 0.1,
    offset: float = 0.0,
    channels: Sequence[int] | None = None,
) -> Pair:
    """Multiply by 1 +- ``factor`` and add +- ``offset``, each channel apart; ``channels``: all by default."""
    ones = (1,) * (images.dim() - 2)
    times = 1 + draws.uniform(-factor, factor, images.shape[1], *ones)
    plus = draws.uniform(-offset, offset, images.shape[1], *ones)
    changed = images * times + plus
    return _only(channels, changed, images), labels


@augmentation("noise")
def noise(
    images: torch.Tensor,
    labels: torch.Tensor,
    draws: Draws,
    variance: float = 0.1,
    chance: float = 1.0,
    channels: Sequence[int] | None = None,
) -> Pair:
    """Add Gaussian noise whose variance is uniform in [0, ``variance``]: report 000."""
    ones = (1,) * (images.dim() - 1)
    level = draws.uniform(0, variance, *ones).sqrt() * draws.chance(chance, *ones)
    return _only(channels, images + level * draws.normal(*images.shape[1:]), images), labels


@augmentation("drop_channels")
def drop_channels(
    images: torch.Tensor,
    labels: torch.Tensor,
    draws: Draws,
    chance: float = 0.25,
    keep: Sequence[int] = (0,),
) -> Pair:
    """Set each channel but those of ``keep`` to 0 with this chance, as an optional input that is missing."""
    dropped = draws.chance(chance, images.shape[1])
    dropped[:, list(keep)] = False
    return images.masked_fill(dropped.view(*dropped.shape, *(1,) * (images.dim() - 2)), 0.0), labels


def _only(channels: Sequence[int] | None, changed: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    if channels is None:
        return changed
    mixed = images.clone()
    mixed[:, list(channels)] = changed[:, list(channels)]
    return mixed
