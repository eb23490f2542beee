"""The engine as a process beside the application: one worker that stays warm between jobs.

It speaks the engine's protocol, JSON lines on its standard streams.  A crash costs the job, never the scene;
the next command starts a new worker.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import qt
import slicer
from SegDLEngine import protocol
from SegDLEngine.errors import SegDLError

from SegDLLib.process_tree import killTree
from SegDLLib.signals import Signal
from SegDLLib.text_lines import TextLines

MODULE_FOLDER = Path(__file__).resolve().parents[1]

# Another Python that has torch may be named here; by default it is Slicer's own.
PYTHON_VARIABLE = "SEGDL_PYTHON"

# Code of the error when the worker ended by itself without a fault, as it does when it is idle for long.
ENGINE_LEFT = "engine_left"

GRACE_SECONDS = 5.0
TAIL_LINES = 50
_START_MS, _SHUTDOWN_MS = 10000, 2000


def pythonCommand() -> list[str]:
    """The Python to run the engine with; raises SegDLError where there is none.

    ``sys.executable`` is not asked: inside Slicer it may be empty or the application itself.
    """
    chosen = os.environ.get(PYTHON_VARIABLE) or shutil.which("PythonSlicer")
    if not chosen:
        raise SegDLError(
            "Slicer's Python (PythonSlicer) was not found on the PATH.",
            hint=f"Start Slicer by its launcher, or name a Python with torch in {PYTHON_VARIABLE}.",
            code="no_python",
        )
    return [chosen]


class EngineProcess:
    """Starts, talks to, cancels and ends the worker; all of it in the main thread.

    ``received``: each event as a dictionary.  ``ended``: the worker ended without being asked (idle, crash,
    kill); one SegDLError that says how, with the last lines of its standard error as ``detail``.
    """

    def __init__(self, command: Sequence[str] | None = None, *, graceSeconds: float = GRACE_SECONDS):
        self.received = Signal()
        self.ended = Signal()
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self.graceSeconds = graceSeconds
        self._command = list(command) if command else None
        self._process: Any = None
        self._expected = False
        self._deadline: float | None = None
        self._out, self._err = TextLines(), TextLines()
        self._grace = qt.QTimer()
        self._grace.setSingleShot(True)
        self._grace.connect("timeout()", self.kill)
        slicer.app.connect("aboutToQuit()", self.shutdown)

    @property
    def running(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        """Process id of the launcher or Python; 0 when none runs."""
        return int(self._process.processId()) if self.running else 0

    def send(self, command: Mapping[str, Any]) -> None:
        """Give the worker one command; starts it when it does not run.  Raises SegDLError if it cannot."""
        if not self.running:
            self._start()
        line = protocol.encode(command) + "\n"
        if self._process is None or self._process.write(line.encode("utf-8")) < 0:
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
        """Block until the worker says something, without an event loop; for scripts."""
        process = self._process
        if process is None:
            return
        process.waitForReadyRead(milliseconds)
        self._read()
        if self._deadline is not None and time.monotonic() > self._deadline:
            self.kill()

    def shutdown(self) -> None:
        """End the worker: gently, then by force.  Nothing is reported."""
        process = self._process
        if process is None:
            return
        self._expected = True
        process.closeWriteChannel()
        if not process.waitForFinished(_SHUTDOWN_MS):
            killTree(self.pid)
            process.waitForFinished(_SHUTDOWN_MS)
        self._drop()

    def kill(self) -> None:
        """Kill the worker with everything it started; ``ended`` follows."""
        process = self._process
        if process is None:
            return
        killTree(self.pid)
        process.waitForFinished(_SHUTDOWN_MS)

    def close(self) -> None:
        """Shut down for good: nothing of this object is called any more."""
        self.received.disconnect()
        self.ended.disconnect()
        self.shutdown()
        slicer.app.disconnect("aboutToQuit()", self.shutdown)

    def _start(self) -> None:
        own = self._command is None and not os.environ.get(PYTHON_VARIABLE)
        program, *arguments = self._command or [*pythonCommand(), "-m", "SegDLEngine", "worker"]
        self._out, self._err = TextLines(), TextLines()
        self.tail.clear()
        self._expected = False
        # The application owns the object, so that PythonQt never deletes it inside one of its own signals.
        process = qt.QProcess(slicer.app)
        process.setProcessEnvironment(_environment(own))
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
                f"The engine could not be started: {program}: {reason}.",
                hint="Check that this program exists and may be run.",
                code="engine",
            )

    def _read(self) -> None:
        process = self._process
        if process is None:
            return
        for line in self._err.feed(process.readAllStandardError().data()):
            self.tail.append(line)
        for line in self._out.feed(process.readAllStandardOutput().data()):
            self._dispatch(line)

    def _dispatch(self, line: str) -> None:
        try:
            event = protocol.decode(line)
        except ValueError:
            # A library that prints; it is kept for the report.
            self.tail.append(line)
            return
        self.received.emit(event)

    def _onFinished(self, exitCode: int) -> None:
        process = self._process
        if process is None:
            return
        self._read()
        self.tail.extend(self._err.rest())
        crashed = process.exitStatus() != qt.QProcess.NormalExit
        error = _deathReport(exitCode, crashed, "\n".join(self.tail))
        self._drop()
        if not self._expected:
            self.ended.emit(error)

    def _drop(self) -> None:
        self.settled()
        process, self._process = self._process, None
        if process is not None:
            process.deleteLater()


def _environment(own: bool):
    """The worker's environment: this one's plus the engine's folder; Slicer's own stays as it is.

    Another Python than Slicer's must not see Slicer's libraries.
    """
    if own or not hasattr(slicer.app, "startupEnvironment"):
        environment = qt.QProcessEnvironment.systemEnvironment()
    else:
        environment = slicer.app.startupEnvironment()
    folders = [str(MODULE_FOLDER), environment.value("PYTHONPATH", "")]
    environment.insert("PYTHONPATH", os.pathsep.join(folder for folder in folders if folder))
    environment.insert("PYTHONUNBUFFERED", "1")
    environment.insert("PYTHONIOENCODING", "utf-8")
    return environment


def _deathReport(exitCode: int, crashed: bool, tail: str) -> SegDLError:
    missing = re.search(r"No module named '([\w.]+)'", tail)
    if missing:
        return SegDLError(
            f"The engine's Python lacks the package '{missing.group(1)}'.",
            hint="Install the missing packages in the panel.",
            code="dependency",
            detail=tail,
        )
    if exitCode == 0 and not crashed:
        return SegDLError("The engine has ended.", hint="Run again.", code=ENGINE_LEFT, detail=tail)
    how = "was ended by the system or crashed" if crashed else f"ended with code {exitCode}"
    return SegDLError(
        f"The engine {how}; the scene was not changed.",
        hint="Run again; if memory is short, choose fewer samples or the CPU.  The log has its last words.",
        code="engine_died",
        detail=tail,
    )
