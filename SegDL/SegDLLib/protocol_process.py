"""A Python process beside the application that speaks the engine's protocol: JSON lines on its streams.

What the segmenting worker and a training have in common: start, lines, environment, and their end with
everything they started.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import qt
import slicer
from SegDLEngine import protocol
from SegDLEngine.errors import SegDLError

from SegDLLib.process_end import eventIn, kept
from SegDLLib.process_tree import killTree
from SegDLLib.python_command import MODULE_FOLDER, isSlicersOwn, pythonVariables
from SegDLLib.signals import Signal
from SegDLLib.text_lines import TextLines

TAIL_LINES = 50
END_MS = 2000
_START_MS = 10000


class ProtocolProcess:
    """Starts one process at a time, hands on its events and ends it; all of it in the main thread.

    ``received``: each event as a dictionary.  A subclass says how a process is asked to end (``_askToEnd``)
    and what to make of an end that nobody asked for (``_onUnexpectedEnd``); ``title`` names it in sentences.
    """

    title = "The process"

    def __init__(self) -> None:
        self.received = Signal()
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._process: Any = None
        self._expected = False
        self._out, self._err = TextLines(), TextLines()
        slicer.app.connect("aboutToQuit()", self.shutdown)

    @property
    def running(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        """Process id of the launcher or Python; 0 when none runs."""
        return int(self._process.processId()) if self.running else 0

    def wait(self, milliseconds: int) -> None:
        """Block until the process says something, without an event loop; for scripts."""
        process = self._process
        if process is None:
            return
        process.waitForReadyRead(milliseconds)
        self._read()

    def shutdown(self) -> None:
        """End the process: gently, then by force.  Nothing is reported."""
        process = self._process
        if process is None:
            return
        self._expected = True
        self._askToEnd()
        if not process.waitForFinished(self._graceMs()):
            killTree(self.pid)
            process.waitForFinished(END_MS)
        self._drop()

    def kill(self) -> None:
        """Kill the process with everything it started; its end is reported."""
        process = self._process
        if process is None:
            return
        killTree(self.pid)
        process.waitForFinished(END_MS)

    def close(self) -> None:
        """Shut down for good: nothing of this object is called any more."""
        self.received.disconnect()
        self.shutdown()
        slicer.app.disconnect("aboutToQuit()", self.shutdown)

    def _askToEnd(self) -> None:
        raise NotImplementedError

    def _graceMs(self) -> int:
        """How long ``shutdown`` waits before it uses force."""
        return END_MS

    def _onUnexpectedEnd(self, exitCode: int, crashed: bool) -> None:
        raise NotImplementedError

    def _start(self, command: Sequence[str], folders: Sequence[Path]) -> None:
        """Start a program that finds the packages in ``folders``; raises SegDLError if it cannot."""
        program, *arguments = command
        self._out, self._err = TextLines(), TextLines()
        self.tail.clear()
        self._expected = False
        # The application owns the object, so that PythonQt never deletes it inside one of its own signals.
        process = qt.QProcess(slicer.app)
        process.setProcessEnvironment(_environment(folders))
        process.setWorkingDirectory(str(MODULE_FOLDER))
        process.connect("readyReadStandardOutput()", self._read)
        process.connect("readyReadStandardError()", self._read)
        process.connect("finished(int,QProcess::ExitStatus)", self._onFinished)
        self._process = process
        process.start(program, arguments)
        if not process.waitForStarted(_START_MS):
            reason = process.errorString()
            self._drop()
            raise SegDLError(
                f"{self.title} could not be started: {program}: {reason}.",
                hint="Check that this program exists and may be run.",
                code="engine",
            )

    def _write(self, command: Mapping[str, Any]) -> bool:
        """Give the process one line; False if it does not take it."""
        line = protocol.encode(command) + "\n"
        return self._process is not None and self._process.write(line.encode("utf-8")) >= 0

    def _read(self) -> None:
        process = self._process
        if process is None:
            return
        for line in self._err.feed(process.readAllStandardError().data()):
            self.tail.append(kept(line))
        for line in self._out.feed(process.readAllStandardOutput().data()):
            self._dispatch(line)

    def _dispatch(self, line: str) -> None:
        event = eventIn(line, self.tail)
        if event is None:
            return
        self._handle(event)
        self.received.emit(event)

    def _handle(self, event: Mapping[str, Any]) -> None:
        """For a subclass that remembers something of the events."""

    def _onFinished(self, exitCode: int) -> None:
        process = self._process
        if process is None:
            return
        self._read()
        self.tail.extend(map(kept, self._err.rest()))
        crashed = process.exitStatus() != qt.QProcess.NormalExit
        self._drop()
        if not self._expected:
            self._onUnexpectedEnd(exitCode, crashed)

    def _drop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.deleteLater()


def _environment(folders: Sequence[Path]):
    """The child's environment: this one's plus the folders; Slicer's own stays as it is."""
    if isSlicersOwn() or not hasattr(slicer.app, "startupEnvironment"):
        environment = qt.QProcessEnvironment.systemEnvironment()
    else:
        environment = slicer.app.startupEnvironment()
    inherited = environment.value("PYTHONPATH", "")
    for name, value in pythonVariables(folders, inherited).items():
        environment.insert(name, value)
    return environment
