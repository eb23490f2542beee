"""The processes that share a training: one by default, several under ``torchrun``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
from SegDLEngine.errors import InputError, SegDLError
from torch import distributed

from SegDLTrainingLib.launcher import meet, process_count, settle

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

    def share(self, rows: range) -> range:
        """This process's part of consecutive rows; raises InputError if they cannot be shared equally."""
        if len(rows) % self.count:
            raise InputError(
                f"{len(rows)} rows of a batch cannot be shared equally by {self.count} processes.",
                hint="Choose a sampling.batch that is a multiple of training.accumulate times their number.",
            )
        each = len(rows) // self.count
        return rows[self.rank * each : (self.rank + 1) * each]

    def sum(self, values: Sequence[float], device: str = "cpu") -> list[float]:
        """Element-wise sums over all processes, the same in each."""
        if self.count == 1:
            return [float(value) for value in values]
        whole = torch.tensor(values, dtype=torch.float64, device=device)
        distributed.all_reduce(whole)
        return whole.tolist()

    def agree(self, number: int, device: str, folder: Path) -> None:
        """Raise InputError if the checkpoint in ``folder`` has not the same ``number`` of steps for all."""
        # Mean of squares and square of mean are the same only then.
        if self.sum([number * number], device)[0] * self.count != self.sum([number], device)[0] ** 2:
            raise InputError(
                f"The processes find different checkpoints in {folder}.",
                hint="Give all machines the same --output, in a folder that they share.",
            )

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            distributed.barrier()


@contextlib.contextmanager
def joined(device: str) -> Iterator[Processes]:
    """The group that ``torchrun`` describes in the environment; a single process without it.

    Within the block the group may be joined again.  Raises SegDLError when another process has gone.
    """
    count = process_count()
    if count == 1:
        yield Processes()
        return
    if distributed.is_initialized():
        yield Processes(distributed.get_rank(), count)
        return
    store, rank, count = meet()
    backend = "nccl" if device.startswith("cuda") else "gloo"
    distributed.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=PATIENCE)
    try:
        yield Processes(rank, count)
    except SegDLError as error:
        settle(error.exit_code)
        raise
    except RuntimeError as error:
        settle(SegDLError.exit_code)
        if not (isinstance(error, distributed.DistError) or "gloo" in str(error)):
            raise
        raise SegDLError(
            "Another process of this training has gone.",
            hint="Was it killed, perhaps for want of memory? The same command goes on from the last "
            "checkpoint; torchrun --max-restarts does so by itself.",
            detail=str(error),
        ) from error
    except BaseException:
        settle(SegDLError.exit_code)
        raise
    finally:
        # Not before it is settled who was first: the others notice this end at once.
        distributed.destroy_process_group()
