"""Draws that are not random, and images that tell where each of their voxels came from."""

from __future__ import annotations

import torch
from SegDLTrainingLib.draws import Draws


class FixedDraws(Draws):
    """Every uniform number lies at ``share`` of its range, every normal one is ``deviation``."""

    def __init__(self, count: int, share: float, deviation: float = 0.0, common: float | None = None):
        super().__init__(0, 0, range(count))
        self._share, self._deviation = share, deviation
        self._common = share if common is None else common

    def uniform(self, low: float, high: float, *shape: int) -> torch.Tensor:
        return torch.full((len(self), *shape), low + (high - low) * self._share)

    def chance(self, probability: float, *shape: int) -> torch.Tensor:
        return torch.full((len(self), *shape), probability > 0)

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.full((len(self), *shape), self._deviation)

    def common(self, *shape: int) -> torch.Tensor:
        return torch.full(shape, self._common)


def places(*shape: int, spacing: tuple[float, ...] = (1.0, 1.0, 1.0)) -> torch.Tensor:
    """(1, axes, *shape): each voxel's distance from the middle along i, j (and k), as ``spacing`` is."""
    axes = [(torch.arange(length) - (length - 1) / 2) for length in shape]
    grid = torch.meshgrid(*axes, indexing="ij")[::-1]
    return torch.stack([axis * step for axis, step in zip(grid, spacing, strict=False)])[None].float()


def linear_map(before: torch.Tensor, after: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Matrix and shift from a voxel's place to the place that it now shows, in the images' middle."""
    middle = tuple(slice(length // 4, -(length // 4)) for length in before.shape[2:])
    points, found = (maps[0][(slice(None), *middle)].flatten(1).T for maps in (before, after))
    full = torch.cat([points, torch.ones(len(points), 1)], dim=1)
    solution = torch.linalg.lstsq(full, found).solution.T
    assert torch.allclose(full @ solution.T, found, atol=1e-3), "not one linear map"
    return solution[:, :-1], solution[:, -1]
