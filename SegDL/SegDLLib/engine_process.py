"""The engine as a process beside the application: one worker that stays warm between jobs.

A crash costs the job, never the scene; the next command starts a new worker.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import qt
from SegDLEngine.errors import SegDLError

from SegDLLib.process_end import howItEnded, missingPackage, wasKilled
from SegDLLib.protocol_process import ProtocolProcess
from SegDLLib.python_command import MODULE_FOLDER, pythonCommand
from SegDLLib.signals import Signal

# Code of the error when the worker ended by itself without a fault, as it does when it is idle for long.
ENGINE_LEFT = "engine_left"

GRACE_SECONDS = 5.0


class EngineProcess(ProtocolProcess):
    """Starts, talks to, cancels and ends the worker.

    ``ended``: the worker ended without being asked (idle, crash, kill); one SegDLError that says how, with
    the last lines of its standard error as ``detail``.
    """

    title = "The engine"

    def __init__(self, command: Sequence[str] | None = None, *, graceSeconds: float = GRACE_SECONDS):
        super().__init__()
        self.ended = Signal()
        self.graceSeconds = graceSeconds
        self._command = list(command) if command else None
        self._deadline: float | None = None
        self._grace = qt.QTimer()
        self._grace.setSingleShot(True)
        self._grace.connect("timeout()", self.kill)

    def send(self, command: Mapping[str, Any]) -> None:
        """Give the worker one command; starts it when it does not run.  Raises SegDLError if it cannot."""
        if not self.running:
            program = self._command or [*pythonCommand(), "-m", "SegDLEngine", "worker"]
            self._start(program, [MODULE_FOLDER])
        if not self._write(command):
            raise SegDLError("The engine does not take commands.", hint="Run again.", code="engine")

    def cancel(self, job: str) -> None:
        """Ask the worker to drop a job; after the grace time the whole process tree is killed."""
        if not self.running:
            return
        self.send({"command": "cancel", "job": job})
        self._deadline = time.monotonic() + self.graceSeconds
        self._grace.start(int(self.graceSeconds * 1000))

    def settled(self) -> None:
        """The cancelled job has ended in time: the worker stays."""
        self._deadline = None
        self._grace.stop()

    def wait(self, milliseconds: int) -> None:
        super().wait(milliseconds)
        if self._deadline is not None and time.monotonic() > self._deadline:
            self.kill()

    def close(self) -> None:
        self.ended.disconnect()
        super().close()

    def _askToEnd(self) -> None:
        self._process.closeWriteChannel()

    def _drop(self) -> None:
        self.settled()
        super()._drop()

    def _onUnexpectedEnd(self, exitCode: int, crashed: bool) -> None:
        self.ended.emit(missingPackage(list(self.tail)) or self._deathReport(exitCode, crashed))

    def _deathReport(self, exitCode: int, crashed: bool) -> SegDLError:
        tail = "\n".join(self.tail)
        if exitCode == 0 and not crashed:
            return SegDLError("The engine has ended.", hint="Run again.", code=ENGINE_LEFT, detail=tail)
        return SegDLError(
            f"The engine {howItEnded(exitCode, wasKilled(exitCode, crashed, self.tail))};"
            " the scene was not changed.",
            hint="Run again; if memory is short, choose fewer samples or the CPU.  See the log.",
            code="engine_died",
            detail=tail,
        )
