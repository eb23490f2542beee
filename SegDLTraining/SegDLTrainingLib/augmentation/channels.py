"""Missing sequences: a network that saw cases without some of its inputs can do without them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from SegDLTrainingLib.augmentation.registry import Pair, augmentation
from SegDLTrainingLib.draws import Draws


@augmentation("drop_channels")
def drop_channels(
    images: torch.Tensor,
    labels: torch.Tensor,
    draws: Draws,
    chance: float = 0.25,
    keep: Sequence[int] = (0,),
    value: float = 0.0,
) -> Pair:
    """Set each channel but those in ``keep`` to ``value`` with this chance, as an absent input has it.

    The last step of the list, because a step after it would give the empty channel values again.
    """
    ones = (1,) * (images.dim() - 2)
    dropped = draws.chance(chance, images.shape[1], *ones)
    dropped[:, list(keep)] = False
    return images.masked_fill(dropped, value), labels
