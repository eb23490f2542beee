"""The long-lived process that segments for the panel: commands in, events out, one JSON object a line.

Commands on standard input: ``{"command": "segment", "job", "model", "inputs", "options", "outputs"}``,
``{"command": "cancel", "job"}``, ``{"command": "models"}`` and ``{"command": "shutdown"}``.  Events on
standard output follow ``protocol.py``; a job begins with ``accepted`` and ends with ``result`` or ``error``.

Jobs run one after the other in the main thread, where the C library serves large blocks best; a second thread
reads the commands, so that a cancel is heard while a job computes.  Python, torch and the networks stay
loaded between jobs.  The end of standard input means that the parent is gone: the process ends at once, and
the guardian of the outputs removes what an unfinished job has written.
"""

from __future__ import annotations

import importlib
import os
import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO

from SegDLEngine import __version__
from SegDLEngine.errors import InputError
from SegDLEngine.models.catalogue import list_models
from SegDLEngine.models.warm import WarmModels
from SegDLEngine.protocol import Event, Reporter, decode, line_sink

_PRELOADED = ("SegDLEngine.pipeline", "SegDLEngine.segment_job", "SimpleITK", "cc3d", "edt")
_SEGMENT_FIELDS = {"command", "job", "model", "inputs", "options", "outputs"}


@dataclass
class Job:
    """A request to segment; ``cancelled`` is set by the reading thread and asked by the running job."""

    id: str
    request: Mapping[str, Any]
    cancelled: threading.Event = field(default_factory=threading.Event)


class Worker:
    """Serves the lines of ``commands`` and writes events to ``events`` until told to stop.

    ``idle_seconds``: it ends itself after so long without a job; 0 means never.
    """

    def __init__(self, commands: Iterable[bytes], events: TextIO, idle_seconds: float = 600.0):
        self._commands = commands
        self._write = line_sink(events)
        self._writing = threading.Lock()
        self._idle_seconds = idle_seconds or None
        # A SimpleQueue, because ``stop`` may put into it from a signal handler that interrupts ``get``.
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._jobs: dict[str, Job] = {}
        self._models = WarmModels()

    def serve(self) -> int:
        """Run jobs as they come, in the calling thread; returns 0 after a shutdown or when idle too long."""
        self._queue.put(warm_up)
        threading.Thread(target=self._read, daemon=True, name="commands").start()
        while True:
            try:
                task = self._queue.get(timeout=self._idle_seconds)
            except queue.Empty:
                return 0
            if task is None:
                return 0
            task()

    def stop(self) -> None:
        """Cancel all jobs and let ``serve`` return."""
        for job in list(self._jobs.values()):
            job.cancelled.set()
        self._queue.put(None)

    def _read(self) -> None:
        """Read commands until the input ends, which ends the process whatever it is doing."""
        try:
            for line in self._commands:
                if line.strip():
                    self._obey(line)
        finally:
            os._exit(0)

    def _obey(self, line: bytes) -> None:
        job_id = ""
        try:
            try:
                command = decode(line.decode("utf-8"))
            except (ValueError, RecursionError) as error:
                raise InputError(f"This command is not a JSON object: {error}.", code="protocol") from error
            job_id = _job_id(command)
            self._dispatch(command, job_id)
        except Exception as error:
            self._reporter(job_id).error(error)

    def _dispatch(self, command: Event, job_id: str) -> None:
        name = command.get("command")
        if name == "segment":
            self._accept(command, job_id)
        elif name == "cancel":
            if job_id in self._jobs:
                self._jobs[job_id].cancelled.set()
        elif name == "models":
            self._list_models(job_id)
        elif name == "shutdown":
            self.stop()
        else:
            raise InputError(
                f"There is no command '{name}'.",
                hint="Known commands: segment, cancel, models, shutdown.",
                code="protocol",
            )

    def _accept(self, command: Event, job_id: str) -> None:
        if not job_id:
            raise InputError("The command 'segment' has no 'job'.", code="protocol")
        if job_id in self._jobs:
            raise InputError(f"Job '{job_id}' is already here.", code="protocol")
        for name in command:
            if name not in _SEGMENT_FIELDS:
                raise InputError(f"The command 'segment' has no field '{name}'.", code="protocol")
        job = self._jobs[job_id] = Job(job_id, command)
        self._reporter(job_id).emit("accepted", engine=__version__, pid=os.getpid())
        self._queue.put(lambda: self._run(job))

    def _run(self, job: Job) -> None:
        reporter = self._reporter(job.id, job.cancelled.is_set)
        try:
            reporter.check()
            outcome = self._segment(job.request, reporter)
        except Exception as error:
            self._jobs.pop(job.id)
            reporter.error(error)
        else:
            self._jobs.pop(job.id)
            reporter.emit("result", **outcome)

    def _segment(self, request: Mapping[str, Any], reporter: Reporter) -> dict[str, Any]:
        from SegDLEngine.options import SegmentOptions
        from SegDLEngine.segment_job import run_segment_job

        return run_segment_job(
            self._models.get(_text(request, "model")),
            _mapping(request, "inputs"),
            SegmentOptions.from_mapping(_mapping(request, "options")),
            _mapping(request, "outputs"),
            reporter,
        )

    def _list_models(self, job_id: str) -> None:
        reporter = self._reporter(job_id)
        models = list_models(lambda _, error: reporter.warning("model", str(error)))
        rows = [{**model.row(), "card": model.card.data, "shipped": model.shipped} for model in models]
        reporter.emit("result", models=rows)

    def _reporter(self, job_id: str, cancelled: Callable[[], bool] | None = None) -> Reporter:
        return Reporter(self._emit, cancelled, job_id)

    def _emit(self, event: Event) -> None:
        """Write an event; where nobody reads any more, there is nobody left to work for."""
        with self._writing:
            try:
                self._write(event)
            except (OSError, ValueError):
                os._exit(0)


def warm_up() -> None:
    """Import what every job needs, so that the first one starts at once too."""
    for name in _PRELOADED:
        importlib.import_module(name)
    from SegDLEngine.inference.runtime import keep_freed_memory

    keep_freed_memory()


def _job_id(command: Event) -> str:
    job_id = command.get("job", "")
    if not isinstance(job_id, str):
        raise InputError(f"Field 'job' is {job_id!r}; a text is expected.", code="protocol")
    return job_id


def _text(request: Mapping[str, Any], name: str) -> str:
    value = request.get(name)
    if not isinstance(value, str) or not value:
        raise InputError(f"Field '{name}' is {value!r}; a text is expected.", code="protocol")
    return value


def _mapping(request: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = request.get(name) or {}
    if not isinstance(value, dict):
        raise InputError(f"Field '{name}' is {value!r}; an object is expected.", code="protocol")
    return value
