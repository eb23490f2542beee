"""A training's process without Qt, for scripts on a bare MRML host; it works only while it is waited for."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import IO, Any

from SegDLEngine import protocol
from SegDLEngine.errors import SegDLError

from SegDLLib.process_end import eventIn, kept
from SegDLLib.process_tree import killTree
from SegDLLib.python_command import MODULE_FOLDER, pythonCommand, pythonVariables
from SegDLLib.signals import Signal
from SegDLLib.training.package_path import trainingFolder
from SegDLLib.training.training_end import GRACE_SECONDS, TAIL_LINES, verdict

_OUT, _ERR = "out", "err"


class PlainProcess:
    """What tasks need of a ``TrainingProcess``: ``run``, ``wait``, ``stop``, ``kill``, ``close``, signals."""

    worksOnlyWhileWaited = True

    def __init__(self, *, graceSeconds: float = GRACE_SECONDS):
        self.received, self.ended = Signal(), Signal()
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self.graceSeconds = graceSeconds
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[tuple[str, str | None]] = queue.Queue()
        self._open = 0
        self._stoppable = False
        self._error: dict[str, Any] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None

    def run(self, words: Sequence[str], *, stoppable: bool = False) -> None:
        """Run ``python -m words...``; raises SegDLError."""
        variables = pythonVariables([trainingFolder(), MODULE_FOLDER], os.environ.get("PYTHONPATH", ""))
        command = [*pythonCommand(), "-m", *words]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **variables},
                cwd=MODULE_FOLDER,
                encoding="utf-8",
                errors="replace",
            )
        except OSError as error:
            raise SegDLError(f"The training could not be started: {command[0]}: {error}.") from error
        self._process, self._stoppable, self._error = process, stoppable, None
        self.tail.clear()
        for name, stream in ((_OUT, process.stdout), (_ERR, process.stderr)):
            self._open += 1
            threading.Thread(target=self._collect, args=(name, stream), daemon=True).start()

    def wait(self, milliseconds: int) -> None:
        """Hand on what the process says, for so long at most."""
        end = time.monotonic() + milliseconds / 1000
        while self._process is not None and time.monotonic() < end:
            with contextlib.suppress(queue.Empty):
                self._take(*self._lines.get(timeout=max(end - time.monotonic(), 0.0)))

    def stop(self) -> None:
        """Ask the command to end; one that does not listen is killed."""
        if self._process is None:
            return
        stream = self._process.stdin
        if not self._stoppable or stream is None:
            self.kill()
            return
        with contextlib.suppress(OSError):
            stream.write(protocol.encode({"command": "stop"}) + "\n")
            stream.flush()

    def kill(self) -> None:
        if self._process is not None:
            killTree(self._process.pid)

    def close(self) -> None:
        """End the process, a training with a checkpoint; nothing of this object is called any more."""
        self.received.disconnect()
        self.ended.disconnect()
        self.stop()
        self.wait(int(self.graceSeconds * 1000))
        self.kill()

    def _collect(self, name: str, stream: IO[str]) -> None:
        for line in stream:
            self._lines.put((name, line.strip()))
        self._lines.put((name, None))

    def _take(self, name: str, line: str | None) -> None:
        if line is None:
            self._open -= 1
            if not self._open:
                self._finish()
        elif name == _ERR:
            self.tail.append(kept(line))
        elif line:
            self._dispatch(line)

    def _dispatch(self, line: str) -> None:
        event = eventIn(line, self.tail)
        if event is None:
            return
        if event.get("event") == "error":
            self._error = event
        self.received.emit(event)

    def _finish(self) -> None:
        process, self._process = self._process, None
        assert process is not None
        code = process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self.ended.emit(verdict(self._error, code, code < 0, list(self.tail)))
