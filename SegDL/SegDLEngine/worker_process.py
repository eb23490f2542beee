"""The worker as a process: its streams, signals, and its end when the parent is gone."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import TextIO

from SegDLEngine.worker import Worker

_PR_SET_PDEATHSIG = 1
_CHUNK = 1 << 16


def run_worker(idle_seconds: float = 600.0) -> int:
    """Take over this process's standard streams and serve until the parent, or nobody, wants more."""
    commands, events = _private_streams()
    worker = Worker(_lines(commands), events, idle_seconds)
    _end_on_signals(worker)
    _die_with_parent()
    return worker.serve()


def _private_streams() -> tuple[int, TextIO]:
    """Own copies of standard input and output; stray prints of libraries then go to standard error."""
    commands = os.dup(0)
    events = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return commands, events


def _lines(descriptor: int) -> Iterator[bytes]:
    """Complete lines, read without a lock that the end of the interpreter would have to wait for."""
    rest = b""
    while chunk := os.read(descriptor, _CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines


def _end_on_signals(worker: Worker) -> None:
    """SIGTERM and SIGINT cancel what runs and end the process as ``shutdown`` does."""

    def stop(number: int, frame: FrameType | None) -> None:
        worker.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)


def _die_with_parent() -> None:
    """Let Linux tell us about the parent's death even while another process holds our standard input.

    The kernel also signals when only the thread that started us ends; hence the look at the parent's id.
    """
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()

    def parent_may_be_gone(number: int, frame: FrameType | None) -> None:
        if os.getppid() != parent:
            os._exit(0)

    signal.signal(signal.SIGHUP, parent_may_be_gone)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGHUP), 0, 0, 0)
