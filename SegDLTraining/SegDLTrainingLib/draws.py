"""Random numbers of a batch that depend on the seed, the batch's number and the row only.

Every row of a batch has a generator of its own.  A batch that is shared among processes, or computed in
parts, therefore holds the same rows as the whole one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

WHOLE_BATCH = 1 << 20


def seed_of(*numbers: int) -> int:
    """One seed of 63 bits from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


class Draws:
    """Draws for the ``rows`` of batch ``number``; the first axis of every tensor is the row."""

    def __init__(self, seed: int, number: int, rows: Sequence[int]):
        self._rows = [torch.Generator().manual_seed(seed_of(seed, number, row)) for row in rows]
        self._batch = torch.Generator().manual_seed(seed_of(seed, number, WHOLE_BATCH))

    def __len__(self) -> int:
        return len(self._rows)

    def uniform(self, low: float, high: float, *shape: int) -> torch.Tensor:
        """float32 (N, *shape) in [low, high)."""
        values = torch.stack([torch.rand(shape, generator=row) for row in self._rows])
        return low + (high - low) * values

    def chance(self, probability: float, *shape: int) -> torch.Tensor:
        """bool (N, *shape), each true with this probability."""
        return self.uniform(0.0, 1.0, *shape) < probability

    def normal(self, *shape: int) -> torch.Tensor:
        """float32 (N, *shape) of mean 0 and standard deviation 1."""
        values = torch.empty(len(self._rows), *shape)
        for row, generator in zip(values, self._rows, strict=True):
            row.normal_(generator=generator)
        return values

    def common(self, *shape: int) -> torch.Tensor:
        """float32 ``shape`` in [0, 1), the same for all rows of the batch."""
        return torch.rand(shape, generator=self._batch)
