"""What ``torchrun`` tells its processes and expects of them."""

from __future__ import annotations

import os
import time
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING

from SegDLEngine.errors import SegDLError

if TYPE_CHECKING:
    from torch.distributed import Store

_ARRIVAL = timedelta(minutes=10)
_ANSWER = timedelta(seconds=10)
_LOOK_EVERY_SECONDS = 0.02

# What the processes of this start share, once they have met.
_met: list[Store] = []


def process_count() -> int:
    """How many processes work together; 1 without ``torchrun``."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def restarts_left() -> bool:
    """Whether ``torchrun`` will start all processes again when one ends with another exit code than 0."""
    return _restarts() < int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0"))


def meet() -> tuple[Store, int, int]:
    """A store for the processes of this start alone, the rank among them and their number.

    PyTorch 2.13 gives all starts of one ``torchrun`` the same store, where a restarted process would find the
    addresses of those that are gone; the number of restarts does not tell starts apart, for other machines
    may count otherwise.  Raises SegDLError if not all come.
    """
    from torch import distributed

    store, rank, count = next(distributed.rendezvous("env://", timeout=_ARRIVAL))
    own = distributed.PrefixStore(f"segdl {_word(store, rank, count)}", store)
    _met[:] = [own]
    return own, rank, count


def settle(exit_code: int) -> tuple[bool, int]:
    """Whether this process was the first to end early, which is the one to say why, and that one's exit code.

    The others end by the same error, or because they lost the first; asked again, the answer is the same.
    """
    if process_count() == 1:
        return True, exit_code
    from torch import distributed

    rank = int(os.environ["RANK"])
    try:
        if not _met:
            store, *_ = next(distributed.rendezvous("env://", timeout=_ANSWER))
            _met.append(distributed.PrefixStore(f"segdl restart {_restarts()}", store))
        note = _met[0].compare_set("ended early", "", f"{rank} {exit_code}")
    except (RuntimeError, ValueError):
        # Whoever keeps the notes has ended too.
        return True, exit_code
    first, code = note.decode().split()
    return int(first) == rank, int(code)


def _restarts() -> int:
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def _word(store: Store, rank: int, count: int) -> str:
    """A word that only the processes of this start know.

    The first one gives its word to whoever has left a name, be it one of an earlier start, until all others
    have thanked for this very word.
    """
    if rank > 0:
        name = uuid.uuid4().hex
        store.set(f"segdl name {rank}", name)
        word = store.get(f"segdl word for {name}").decode()
        store.set(f"segdl thanks {rank} {word}", "")
        return word
    word, last = uuid.uuid4().hex, time.monotonic() + _ARRIVAL.total_seconds()
    while not store.check([f"segdl thanks {other} {word}" for other in range(1, count)]):
        for other in range(1, count):
            if store.check([f"segdl name {other}"]):
                name = store.get(f"segdl name {other}").decode()
                store.set(f"segdl word for {name}", word)
        if time.monotonic() > last:
            raise SegDLError(
                f"Not all of the {count} processes have come within {_ARRIVAL.total_seconds():.0f} s.",
                hint="Start torchrun on all machines with the same --nnodes and --rdzv-endpoint.",
            )
        time.sleep(_LOOK_EVERY_SECONDS)
    return word
