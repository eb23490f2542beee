"""A training, or another long command, as a process beside the application."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from SegDLEngine.errors import Cancelled, SegDLError

from SegDLLib.process_tree import killTree
from SegDLLib.protocol_process import (
    MODULE_FOLDER,
    PYTHON_VARIABLE,
    ProtocolProcess,
    howItEnded,
    pythonCommand,
)
from SegDLLib.signals import Signal
from SegDLLib.training.package_path import trainingFolder

# A step, its checkpoint and the end of the process fit into this, but for the slowest.
GRACE_SECONDS = 20.0
# How the commands mark their one line about what went wrong.
_COMPLAINTS = ("segdl: error: ", "segdl-train: ")


class TrainingProcess(ProtocolProcess):
    """Runs one command at a time.

    ``ended``: None when the command has done its work, else the SegDLError that it reported (Cancelled when
    it was stopped) or that says how it died.
    """

    title = "The training"

    def __init__(self, *, graceSeconds: float = GRACE_SECONDS):
        super().__init__()
        self.ended = Signal()
        self.graceSeconds = graceSeconds
        self._stoppable = False
        self._error: SegDLError | None = None

    def run(self, words: Sequence[str], *, stoppable: bool = False) -> None:
        """Run ``python -m words...``; ``stoppable``: it listens to ``stop``.  Raises SegDLError."""
        if self.running:
            raise SegDLError("A training is running.", hint="Wait for its end or stop it.", code="busy")
        self._stoppable, self._error = stoppable, None
        own = not os.environ.get(PYTHON_VARIABLE)
        self._start([*pythonCommand(), "-m", *words], [trainingFolder(), MODULE_FOLDER], own=own)

    def stop(self) -> None:
        """Ask the command to end; one that does not listen has nothing to save and is killed."""
        if self.running and not (self._stoppable and self._write({"command": "stop"})):
            self.kill()

    def close(self) -> None:
        self.ended.disconnect()
        super().close()

    def _askToEnd(self) -> None:
        if not (self._stoppable and self._write({"command": "stop"})):
            killTree(self.pid)

    def _graceMs(self) -> int:
        return int(self.graceSeconds * 1000)

    def _handle(self, event: Mapping[str, Any]) -> None:
        if event.get("event") == "error":
            self._error = _errorOf(event)

    def _onUnexpectedEnd(self, exitCode: int, crashed: bool) -> None:
        if exitCode == 0 and not crashed:
            self.ended.emit(None)
        else:
            self.ended.emit(self._error or self._missingPackage() or self._lastWords(exitCode, crashed))

    def _lastWords(self, exitCode: int, crashed: bool) -> SegDLError:
        tail = "\n".join(self.tail)
        for line in reversed(self.tail):
            for mark in _COMPLAINTS:
                if line.startswith(mark):
                    return SegDLError(line.removeprefix(mark), detail=tail)
        return SegDLError(
            f"{self.title} {howItEnded(exitCode, crashed)}.",
            hint="Start again: it goes on from its last checkpoint.  See the log.",
            code="training_died",
            detail=tail,
        )


def _errorOf(event: Mapping[str, Any]) -> SegDLError:
    if event["code"] == Cancelled.default_code:
        return Cancelled(event["text"], hint=event.get("hint", ""))
    return SegDLError(
        event["text"], hint=event.get("hint", ""), code=event["code"], detail=event.get("detail", "")
    )
