"""How a training tells where it is, and how it learns that it should stop.

Events are those of the engine's protocol; ``progress`` events of the stage "training" also have ``epoch``,
``epochs``, ``step``, ``steps``, ``loss`` and ``rate``, and after each epoch a ``log`` event has the ``row``
of the curve.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from SegDLEngine.command_line.terminal import TerminalProgress
from SegDLEngine.protocol import Event, line_sink

STOP_FILE = "stop"
LOOK_EVERY_SECONDS = 0.5
STOPPING = b"\nStopping; once more ends at once, without a checkpoint of the last steps.\n"


@contextlib.contextmanager
def sink_of(progress: str) -> Iterator[Callable[[Event], None] | None]:
    """Where events go: ``progress`` "json" to stdout, "bar" to a terminal on stderr, "none" nowhere.

    With a bar, the files of a result are named on stdout.
    """
    if progress == "json":
        yield line_sink(sys.stdout)
        return
    if progress == "none":
        yield None
        return
    terminal = TerminalProgress(sys.stderr, bar=True, logs=True)

    def show(event: Event) -> None:
        terminal(_with_epoch(event))
        if event["event"] == "result" and "files" in event:
            terminal.close()
            print("\n".join(f"{name}: {path}" for name, path in event["files"].items() if path))

    try:
        yield show
    finally:
        terminal.close()


def _with_epoch(event: Event) -> Event:
    """The stage in words, with epoch, step and loss where the event has them."""
    if event["event"] != "progress" or "epoch" not in event or not sys.stderr.isatty():
        return event
    places = f"epoch {event['epoch']}/{event['epochs']}, step {event['step']}/{event['steps']}"
    return {**event, "stage": f"{places}, loss {event['loss']:.4f}"}


class StopRequests:
    """Whether somebody asked the training to stop: by SIGINT or SIGTERM, a file, or a line on stdin.

    The first signal asks; a second one ends the process at once.
    """

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._file: Path | None = None
        self._looked = 0.0

    def asked(self) -> bool:
        """Looks for the file only so often, as folders may be far away."""
        now = time.monotonic()
        if self._file is not None and now - self._looked > LOOK_EVERY_SECONDS:
            self._looked = now
            if self._file.exists():
                with contextlib.suppress(OSError):
                    self._file.unlink()
                self._asked.set()
        return self._asked.is_set()

    def watch_file(self, folder: Path) -> None:
        """A file named STOP_FILE in ``folder`` asks to stop; one from before does not count."""
        self._file = folder / STOP_FILE
        with contextlib.suppress(OSError):
            self._file.unlink()

    def watch_stdin(self) -> None:
        """A line {"command": "stop"} on stdin asks to stop; the end of stdin does not."""
        with contextlib.suppress(ValueError, OSError):
            if not sys.stdin.isatty():
                threading.Thread(target=self._read, args=(sys.stdin.fileno(),), daemon=True).start()

    def _read(self, stream: int) -> None:
        """Reads the bare file: a thread that waits in Python's buffer would keep the process from ending."""
        rest = b""
        with contextlib.suppress(OSError):
            while block := os.read(stream, 4096):
                *lines, rest = (rest + block).split(b"\n")
                for line in lines:
                    with contextlib.suppress(ValueError, AttributeError):
                        if json.loads(line).get("command") == "stop":
                            self._asked.set()

    @contextlib.contextmanager
    def watching_signals(self) -> Iterator[None]:
        """Within the block SIGINT and SIGTERM ask to stop."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def ask(number: int, frame: FrameType | None) -> None:
            for name in (signal.SIGINT, signal.SIGTERM):
                signal.signal(name, signal.SIG_DFL)
            self._asked.set()
            with contextlib.suppress(OSError, ValueError, AttributeError):
                if sys.stderr.isatty():
                    # Past Python's buffer, which the interrupted code may be writing to.
                    os.write(sys.stderr.fileno(), STOPPING)

        former: dict[int, Any] = {name: signal.signal(name, ask) for name in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for name, handler in former.items():
                signal.signal(name, handler)
