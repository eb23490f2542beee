"""The mean teacher (Tarvainen and Valpola 2017): a slow copy of the student whose predictions guide it.

The report's text swaps the roles; its formula makes theta' the teacher, as the paper does, and so does this.
"""

from __future__ import annotations

import copy
import math
from typing import Generic, TypeVar

import torch
from torch import nn

Student = TypeVar("Student", bound=nn.Module)


class MeanTeacher(Generic[Student]):
    """``network`` follows the student's parameters; batch-norm statistics are copied as they are.

    At step t, counted from 1, the teacher keeps min(1 - 1/(t + 1), ``decay``) of itself: in its first steps
    it is the plain average of the student and what it started from.
    """

    def __init__(self, student: Student, decay: float = 0.99):
        self.network: Student = copy.deepcopy(student).eval().requires_grad_(False)
        self._decay = decay
        self.count = 0

    @torch.no_grad()
    def update(self, student: nn.Module) -> None:
        self.count += 1
        keep = min(1 - 1 / (self.count + 1), self._decay)
        for mine, theirs in zip(self.network.parameters(), student.parameters(), strict=True):
            mine.lerp_(theirs.to(mine), 1 - keep)
        for own, statistic in zip(self.network.buffers(), student.buffers(), strict=True):
            own.copy_(statistic)


def ramp_up(time: float, length: float) -> float:
    """exp(-5 (1 - t/T)^2), from 0.0067 at ``time`` 0 to 1 at ``length`` and beyond."""
    if length <= 0:
        return 1.0
    share = min(max(time / length, 0.0), 1.0)
    return math.exp(-5 * (1 - share) ** 2)


def consistency(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of probabilities; no gradient flows into the teacher's."""
    return ((student - teacher.detach()) ** 2).mean()


def semi_supervised_loss(
    supervised: torch.Tensor,
    pseudo: torch.Tensor,
    similarity: torch.Tensor,
    consistent: torch.Tensor,
    consistency_weight: float,
    pseudo_weight: float = 1.0,
) -> torch.Tensor:
    """Sum of the three parts; ``pseudo`` holds one loss a patch, each counted by its ``similarity``."""
    return supervised + pseudo_weight * (similarity * pseudo).mean() + consistency_weight * consistent
