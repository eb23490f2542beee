"""A piece of work beside the application, with one end; it runs from the event loop or blocks a script."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from SegDLEngine.errors import Cancelled, SegDLError

from SegDLLib.signals import Signal

if TYPE_CHECKING:
    from SegDLLib.training.plain_process import PlainProcess
    from SegDLLib.training.training_process import TrainingProcess

_WAIT_MS = 200


class Task:
    """Signals ``progressed(fraction, stage, secondsLeft, details)``, ``logged(text)``, ``warned(text)``; then
    exactly one of ``finished(result)`` and ``failed(SegDLError)``, ``Cancelled`` if it was stopped.
    """

    def __init__(self) -> None:
        self.progressed, self.logged, self.warned = Signal(), Signal(), Signal()
        self.finished, self.failed = Signal(), Signal()
        self.active = self.stopping = False
        self.result: Any = None
        self.error: SegDLError | None = None

    def start(self) -> None:
        """Begin; raises SegDLError when that is not possible."""
        raise NotImplementedError

    def stop(self) -> None:
        """Ask for an early end; ``failed`` follows with Cancelled."""
        raise NotImplementedError

    def turn(self) -> None:
        """Do a little of the work, or await it, without an event loop."""
        raise NotImplementedError

    def discard(self) -> None:
        """Forget the work; no signal follows.  Its process is ended by others."""
        raise NotImplementedError

    def wait(self, poll: Callable[[], None] | None = None) -> Any:
        """Block until the end and return the result or raise the error.

        ``poll`` is called between waits; when it raises, the task is stopped first.
        """
        try:
            while self.active:
                self.turn()
                if poll is not None:
                    poll()
        except BaseException:
            self.stop()
            while self.active:
                self.turn()
            raise
        if self.error is not None:
            raise self.error
        return self.result

    def _end(self, error: SegDLError | None, result: Any = None) -> None:
        self.active = False
        self.error, self.result = error, result
        if error is None:
            self.finished.emit(result)
        else:
            self.failed.emit(error)


class ProcessTask(Task):
    """One command in a process beside the application; a subclass says which, and what its end means."""

    stoppable = False

    def __init__(self, process: TrainingProcess | PlainProcess):
        super().__init__()
        self._process = process
        self._deadline: float | None = None

    def start(self) -> None:
        words = self._words()
        self._process.received.connect(self._onEvent)
        self._process.ended.connect(self._onEnded)
        self.active = True
        try:
            self._process.run(words, stoppable=self.stoppable)
        except SegDLError:
            self.discard()
            raise

    def stop(self) -> None:
        if self.active and not self.stopping:
            self.stopping = True
            self._deadline = time.monotonic() + self._process.graceSeconds
            self._process.stop()

    def turn(self) -> None:
        self._process.wait(_WAIT_MS)
        # A script that is interrupted does not wait for ever.
        if self._deadline is not None and time.monotonic() > self._deadline:
            self._process.kill()

    def discard(self) -> None:
        self.active = False
        self._process.received.disconnect(self._onEvent)
        self._process.ended.disconnect(self._onEnded)

    def _words(self) -> Sequence[str]:
        """The module and its arguments."""
        raise NotImplementedError

    def _outcome(self, error: SegDLError | None) -> Any:
        """The result of the command; raises SegDLError when it is of no use."""
        if error is not None:
            raise error

    def _onEvent(self, event: Mapping[str, Any]) -> None:
        kind = event.get("event")
        if kind == "progress":
            self.progressed.emit(event["fraction"], event["stage"], event.get("eta_s"), dict(event))
        elif kind == "log":
            self.logged.emit(event["text"])
        elif kind == "warning":
            self.warned.emit(event["text"])

    def _onEnded(self, error: SegDLError | None) -> None:
        self.discard()
        if self.stopping and error is not None and not isinstance(error, Cancelled):
            error = Cancelled("Stopped.")
        try:
            result = self._outcome(error)
        except SegDLError as problem:
            self._end(problem)
        else:
            self._end(None, result)
