"""Writing a file beside the application's main thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class WritingThread:
    """Runs a function that touches neither MRML nor Qt, until it ends; it cannot be interrupted."""

    def __init__(self, write: Callable[[], Any]):
        self._write = write
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="SegDL writer", daemon=True)
        self._thread.start()

    def ended(self, seconds: float) -> bool:
        """Wait so long at most; True when the function has ended, whose exception is then raised here.

        The wait is what lets the thread run: an application's event loop may keep Python to itself.
        """
        self._thread.join(seconds)
        if self._thread.is_alive():
            return False
        problem, self._problem = self._problem, None
        if problem is not None:
            raise problem
        return True

    def finish(self) -> None:
        """Wait for the end; what went wrong does not matter any more."""
        self._thread.join()

    def _run(self) -> None:
        try:
            self._write()
        except BaseException as problem:
            self._problem = problem
