"""What a training is about: its batches, the loss of a part of one, and how a network is judged.

The loop (``fit``, ``phase``) knows no more of it.  So resume, stops, processes and curves are the same for
segmentation, restoration and semi-supervised training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from SegDLEngine.networks.network import Network

from SegDLTrainingLib.precision import Precision
from SegDLTrainingLib.processes import Processes
from SegDLTrainingLib.recipes import Recipe
from SegDLTrainingLib.volumes import PreparedVolume

# Images float32 (N, C, ...) for the network, then what the loss needs beside its logits.
Part = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Setting:
    """What a task is built round: a phase's recipe, the network and the prepared cases."""

    recipe: Recipe
    network: Network
    training: Sequence[PreparedVolume]
    validation: Sequence[PreparedVolume]
    precision: Precision
    device: str
    processes: Processes


class Follower(Protocol):
    """A network that follows the trained one; ``count`` updates so far, which a checkpoint holds."""

    network: Network
    count: int

    def update(self, network: torch.nn.Module) -> None: ...


class Task(Protocol):
    """``size``: rows of a batch; ``every``: epochs from one judgement to the next.

    ``average`` is updated after every step; ``kept`` is judged and becomes the result.  What a part holds
    depends on the seed, the number of the batch and its rows only.
    """

    size: int
    every: int
    average: Follower
    kept: Network

    def part(self, number: int, rows: Sequence[int]) -> Part: ...

    def names(self, number: int) -> list[str]:
        """Names of the cases in a batch."""
        ...

    def loss(self, logits: torch.Tensor, aims: Sequence[torch.Tensor], epoch: float) -> torch.Tensor:
        """Of float32 ``logits`` and what the part holds after the images, on one device."""
        ...

    def judge(self, network: Network, epoch: int) -> dict[str, float]:
        """The columns that this epoch's row gets."""
        ...


class TaskMaker(Protocol):
    def __call__(self, setting: Setting) -> Task: ...
