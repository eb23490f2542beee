"""What the end of a training's process means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from SegDLEngine.errors import SegDLError

from SegDLLib.process_end import errorOf, exceptionIn, howItEnded, missingPackage, wasKilled

# A step, its checkpoint and the end of the process fit into this, but for the slowest.
GRACE_SECONDS = 20.0
TAIL_LINES = 50
_SENTENCE = 200
_OUT_OF_MEMORY = (
    "Memory may have run out: close other programs, or make the batch of the recipe (sampling.batch) smaller."
)
_GO_ON = "Start again: a training goes on from its last checkpoint."
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
    killed = wasKilled(exitCode, crashed, tail)
    return (None if killed else missingPackage(tail)) or _lastWords(exitCode, killed, tail)


def _lastLine(tail: Sequence[str]) -> str:
    """The last line if it is short enough to be a sentence."""
    return tail[-1] if tail and len(tail[-1]) <= _SENTENCE else ""


def _lastWords(exitCode: int, killed: bool, tail: Sequence[str]) -> SegDLError:
    detail = "\n".join(tail)
    for line in reversed(tail):
        for mark in _COMPLAINTS:
            if line.startswith(mark):
                return SegDLError(line.removeprefix(mark), detail=detail)
    reason = exceptionIn(tail) or ("" if killed else _lastLine(tail))
    text = f"The training {howItEnded(exitCode, killed)}"
    return SegDLError(
        f"{text}: {reason.rstrip('.')}." if reason else f"{text}.",
        hint=f"{_OUT_OF_MEMORY} {_GO_ON}" if killed else _GO_ON,
        code="training_died",
        detail=detail,
    )
