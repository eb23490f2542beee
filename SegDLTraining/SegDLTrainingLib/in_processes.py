"""The same work on many things in several processes, results in order."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import TypeVar

from SegDLEngine.errors import SegDLError

LOOK_EVERY_SECONDS = 0.2

A = TypeVar("A")
R = TypeVar("R")


def _nothing() -> None:
    pass


def in_processes(
    work: Callable[[A], R],
    arguments: Sequence[A],
    workers: int,
    check: Callable[[], None] = _nothing,
    clean: Callable[[], None] = _nothing,
) -> Generator[R, None, None]:
    """``work(argument)`` for each argument, in their order, by so many processes.

    ``check`` is called again and again meanwhile.  What it raises, or closing the iterator, ends the
    processes at once, and so does the end of this process in whatever way; each calls ``clean`` before it
    ends.  ``work`` and ``clean`` are of a module.  An exception of ``work`` is raised in its turn; SegDLError
    if the system has ended a process.
    """
    if workers < 2 or len(arguments) < 2:
        for argument in arguments:
            check()
            yield work(argument)
        return
    context = get_context("spawn")
    # Only this process has the sending end: its end closes the line, which is how the others learn of it.
    line, ours = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(min(workers, len(arguments)), context, _follow, (line, clean))
    with line, ours, pool:
        futures = [pool.submit(work, argument) for argument in arguments]
        try:
            for future in futures:
                while not wait([future], timeout=LOOK_EVERY_SECONDS).done:
                    check()
                yield future.result()
        except BrokenProcessPool as error:
            ours.close()
            check()
            raise SegDLError(
                "A process that reads cases was ended by the system, most likely as the memory was full.",
                hint="Try again with --workers 1.",
                code="memory",
            ) from error
        except BaseException:
            ours.close()
            raise


def _follow(line: Connection, clean: Callable[[], None]) -> None:
    """Leave signals, which may reach all processes of a terminal, to the first one, and end when it ends."""
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(line, clean), daemon=True).start()


def _end_with(line: Connection, clean: Callable[[], None]) -> None:
    with contextlib.suppress(EOFError, OSError):
        line.recv_bytes()
    clean()
    os._exit(1)
