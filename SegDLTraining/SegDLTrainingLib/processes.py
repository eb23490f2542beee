"""The processes that share a training: one by default, several under ``torchrun``."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
from SegDLEngine.errors import InputError
from torch import distributed

# The first process prepares the cases while the others wait for it.
PATIENCE = timedelta(hours=24)


@dataclass(frozen=True)
class Processes:
    """``rank`` of this process among ``count``; only the first writes files and reports."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def share(self, rows: int) -> range:
        """This process's rows of a batch; raises InputError if they cannot be shared equally."""
        if rows % self.count:
            raise InputError(
                f"A batch of {rows} cannot be shared equally by {self.count} processes.",
                hint="Choose a sampling.batch that is a multiple of their number.",
            )
        each = rows // self.count
        return range(self.rank * each, (self.rank + 1) * each)

    def sum(self, values: Sequence[float], device: str = "cpu") -> list[float]:
        """Element-wise sums over all processes, the same in each."""
        if self.count == 1:
            return [float(value) for value in values]
        whole = torch.tensor(values, dtype=torch.float64, device=device)
        distributed.all_reduce(whole)
        return whole.tolist()

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            distributed.barrier()


@contextlib.contextmanager
def joined(device: str) -> Iterator[Processes]:
    """The group that ``torchrun`` describes in the environment; a single process without it."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes()
        return
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=PATIENCE)
    try:
        yield Processes(distributed.get_rank(), count)
    finally:
        distributed.destroy_process_group()
