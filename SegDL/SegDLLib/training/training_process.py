"""A training, or another long command, as a process beside the application."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from SegDLEngine.errors import SegDLError

from SegDLLib.process_tree import killTree
from SegDLLib.protocol_process import ProtocolProcess
from SegDLLib.python_command import MODULE_FOLDER, pythonCommand
from SegDLLib.signals import Signal
from SegDLLib.training.package_path import trainingFolder
from SegDLLib.training.training_end import GRACE_SECONDS, verdict


class TrainingProcess(ProtocolProcess):
    """Runs one command at a time.

    ``ended``: None when the command has done its work, else the SegDLError that it reported (Cancelled when
    it was stopped) or that says how it died.
    """

    title = "The training"
    worksOnlyWhileWaited = False

    def __init__(self, *, graceSeconds: float = GRACE_SECONDS):
        super().__init__()
        self.ended = Signal()
        self.graceSeconds = graceSeconds
        self._stoppable = False
        self._error: Mapping[str, Any] | None = None

    def run(self, words: Sequence[str], *, stoppable: bool = False) -> None:
        """Run ``python -m words...``; ``stoppable``: it listens to ``stop``.  Raises SegDLError."""
        if self.running:
            raise SegDLError("A training is running.", hint="Wait for its end or stop it.", code="busy")
        self._stoppable, self._error = stoppable, None
        self._start([*pythonCommand(), "-m", *words], [trainingFolder(), MODULE_FOLDER])

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
            self._error = event

    def _onUnexpectedEnd(self, exitCode: int, crashed: bool) -> None:
        self.ended.emit(verdict(self._error, exitCode, crashed, list(self.tail)))
