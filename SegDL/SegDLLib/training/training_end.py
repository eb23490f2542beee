"""What the end of a training's process means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from SegDLEngine.errors import SegDLError

from SegDLLib.process_end import errorOf, howItEnded, missingPackage

# A step, its checkpoint and the end of the process fit into this, but for the slowest.
GRACE_SECONDS = 20.0
TAIL_LINES = 50
# How the commands mark their one line about what went wrong.
_COMPLAINTS = ("segdl: error: ", "segdl-train: ")


def verdict(
    error: Mapping[str, Any] | None, exitCode: int, crashed: bool, tail: Sequence[str]
) -> SegDLError | None:
    """None for a command that has done its work, else its error.

    ``error``: its last error event; ``tail``: the last lines that were no events.
    """
    if exitCode == 0 and not crashed:
        return None
    if error is not None:
        return errorOf(error)
    return missingPackage(tail) or _lastWords(exitCode, crashed, tail)


def _lastWords(exitCode: int, crashed: bool, tail: Sequence[str]) -> SegDLError:
    detail = "\n".join(tail)
    for line in reversed(tail):
        for mark in _COMPLAINTS:
            if line.startswith(mark):
                return SegDLError(line.removeprefix(mark), detail=detail)
    return SegDLError(
        f"The training {howItEnded(exitCode, crashed)}.",
        hint="Start again: it goes on from its last checkpoint.  See the log.",
        code="training_died",
        detail=detail,
    )
