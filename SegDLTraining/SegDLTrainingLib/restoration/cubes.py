"""Cubes for the restoration task, cut from CT volumes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from SegDLTrainingLib.restoration.distortions import Distortion

TRIES = 20
LEAST_SPREAD = 0.02


class RestorationBatches:
    """Batches of distorted cubes and what they were; row ``r`` depends on seed, number of the batch and r.

    ``volumes``: CT (k, j, i) in 0..1, as the step ``window`` makes it of -1000 to 1000 HU; memory maps are
    fine.  ``size`` (i, j, k) of the cubes; the report's is 64x64x32.  Smaller volumes are continued with air.
    """

    def __init__(
        self,
        volumes: Sequence[np.ndarray],
        size: Sequence[int] = (64, 64, 32),
        batch: int = 6,
        seed: int = 0,
        distortion: Distortion | None = None,
    ):
        self.size = batch
        self._volumes = volumes
        self._shape = tuple(int(length) for length in size)[::-1]
        self._seed = seed
        self._distortion = distortion or Distortion()

    def batch(self, number: int, rows: Sequence[int] | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Distorted and true cubes, each (N, 1, k, j, i) float32 in 0..1."""
        seen, truth = [], []
        for row in range(self.size) if rows is None else rows:
            rng = np.random.default_rng([self._seed, number, row])
            cube = self._distortion.flipped(self._cube(self._volume(rng), rng), rng)
            truth.append(cube)
            seen.append(self._distortion(cube, rng))
        return torch.from_numpy(np.stack(seen)[:, None]), torch.from_numpy(np.stack(truth)[:, None])

    def volumes_of(self, number: int) -> list[int]:
        """Which volumes the rows of a batch are drawn from."""
        return [self._volume(np.random.default_rng([self._seed, number, row])) for row in range(self.size)]

    def _volume(self, rng: np.random.Generator) -> int:
        return int(rng.integers(len(self._volumes)))

    def _cube(self, number: int, rng: np.random.Generator) -> np.ndarray:
        """A random cube of a volume that is not all air, if one is found in a few tries."""
        volume = self._volumes[number]
        cube = np.zeros(self._shape, np.float32)
        for _ in range(TRIES):
            starts = [
                int(rng.integers(max(have - want, 0) + 1))
                for have, want in zip(volume.shape, self._shape, strict=True)
            ]
            part = volume[
                tuple(slice(start, start + want) for start, want in zip(starts, self._shape, strict=True))
            ]
            cube = np.zeros(self._shape, np.float32)
            cube[tuple(slice(0, length) for length in part.shape)] = part
            if cube.std() > LEAST_SPREAD:
                break
        return cube
