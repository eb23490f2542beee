"""Cubes for the restoration task, cut from CT volumes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from SegDLTrainingLib.restoration.distortions import Distortion

LOWEST_HU, HIGHEST_HU = -1000.0, 1000.0
TRIES = 20


def to_unit_range(values: np.ndarray) -> np.ndarray:
    """HU in [-1000, 1000] to 0..1 float32; beyond it the nearer end."""
    clipped = np.clip(values.astype(np.float32), LOWEST_HU, HIGHEST_HU)
    return (clipped - LOWEST_HU) / (HIGHEST_HU - LOWEST_HU)


class RestorationBatches:
    """Batches of distorted cubes and what they were; batch ``number`` depends on the seed and number only.

    ``volumes``: CT in HU (k, j, i), memory maps are fine.  ``size`` (i, j, k) of the cubes; the report's
    is 64x64x32.  Smaller volumes are continued with air.
    """

    def __init__(
        self,
        volumes: Sequence[np.ndarray],
        size: Sequence[int] = (64, 64, 32),
        batch: int = 6,
        seed: int = 0,
        distortion: Distortion | None = None,
    ):
        self._volumes = volumes
        self._shape = tuple(int(length) for length in size)[::-1]
        self._batch = batch
        self._seed = seed
        self._distortion = distortion or Distortion()

    def batch(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Distorted and true cubes, each (N, 1, k, j, i) float32 in 0..1."""
        rng = np.random.default_rng([self._seed, number])
        truth = [self._distortion.flipped(self._cube(rng), rng) for _ in range(self._batch)]
        seen = [self._distortion(cube, rng) for cube in truth]
        return torch.from_numpy(np.stack(seen)[:, None]), torch.from_numpy(np.stack(truth)[:, None])

    def _cube(self, rng: np.random.Generator) -> np.ndarray:
        """A random cube that is not all air, if one is found in a few tries."""
        volume = self._volumes[int(rng.integers(len(self._volumes)))]
        cube = np.zeros(self._shape, np.float32)
        for _ in range(TRIES):
            starts = [
                int(rng.integers(max(have - want, 0) + 1))
                for have, want in zip(volume.shape, self._shape, strict=True)
            ]
            part = volume[
                tuple(slice(start, start + want) for start, want in zip(starts, self._shape, strict=True))
            ]
            inside = to_unit_range(np.asarray(part))
            cube = np.zeros(self._shape, np.float32)
            cube[tuple(slice(0, length) for length in inside.shape)] = inside
            if inside.std() > 0.02:
                break
        return cube
