"""The one protocol of progress and results: JSON lines, shared by worker, command line and training.

Each line is an object with ``protocol`` (the version), ``event`` and, where several jobs share a stream,
``job``.  Events: ``accepted``, ``plan {device, precision, patch, memory_mb, seconds}``,
``progress {stage, fraction, eta_s}``, ``log {text}``, ``warning {code, text}``, ``result {...}`` and
``error {code, text, hint, detail}``.  ``fraction`` is of the whole job, 0..1, and never falls.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from SegDLEngine.errors import Cancelled, SegDLError

VERSION = 1
EVENTS = ("accepted", "plan", "progress", "log", "warning", "result", "error")

Event = dict[str, Any]


def encode(event: Mapping[str, Any]) -> str:
    """One line of JSON without a line end; numbers that JSON does not know become null."""
    return json.dumps(_finite(event), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def decode(line: str) -> Event:
    """The object of one line; raises ValueError when it is not a JSON object of this protocol."""
    event = json.loads(line)
    if not isinstance(event, dict):
        raise ValueError(f"expected a JSON object, found {type(event).__name__}")
    return event


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if hasattr(value, "item") and not hasattr(value, "__len__"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


class Reporter:
    """What running code says to whoever watches, and how it learns that it should stop.

    ``sink`` receives each event as a dictionary; ``cancelled`` is asked at every report and by ``check``.
    Stages share the job's bar by weight: declare them once with ``stages`` and report each stage's own
    fraction; the whole fraction and the time left follow from it.
    """

    def __init__(
        self,
        sink: Callable[[Event], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
        job: str = "",
    ):
        self._sink = sink
        self._cancelled = cancelled
        self.job = job
        self.warnings: list[Event] = []
        self._spans: dict[str, tuple[float, float]] = {}
        self._fraction = 0.0
        self._started = time.monotonic()

    def emit(self, event: str, **fields: Any) -> None:
        if event not in EVENTS:
            raise ValueError(f"'{event}' is no event of protocol {VERSION}")
        if self._sink is not None:
            head: Event = {"protocol": VERSION, "event": event}
            if self.job:
                head["job"] = self.job
            self._sink({**head, **fields})

    def check(self) -> None:
        """Raise Cancelled if the user asked to stop."""
        if self._cancelled is not None and self._cancelled():
            raise Cancelled()

    def stages(self, weights: Mapping[str, float]) -> None:
        """Divide the bar among the stages, in order, by their expected share of the time."""
        total = float(sum(weights.values())) or 1.0
        start = 0.0
        for name, weight in weights.items():
            self._spans[name] = (start / total, weight / total)
            start += weight

    def progress(self, stage: str, fraction: float, **details: Any) -> None:
        """``fraction`` (0..1) is of this stage; raises Cancelled if the user asked to stop.

        ``details`` are further fields of the event, or a better ``eta_s``.
        """
        self.check()
        start, span = self._spans.get(stage, (0.0, 1.0))
        whole = max(self._fraction, min(1.0, start + span * min(max(fraction, 0.0), 1.0)))
        self._fraction = whole
        elapsed = time.monotonic() - self._started
        eta = round(elapsed * (1 - whole) / whole, 1) if whole > 0.01 else None
        self.emit("progress", **{"stage": stage, "fraction": round(whole, 4), "eta_s": eta, **details})

    def log(self, text: str) -> None:
        self.emit("log", text=text)

    def warning(self, code: str, text: str) -> None:
        self.warnings.append({"code": code, "text": text})
        self.emit("warning", code=code, text=text)

    def error(self, error: BaseException) -> None:
        """Report a failure; an error that is not the engine's own is reported with its type and text."""
        if isinstance(error, SegDLError):
            self.emit("error", code=error.code, text=error.text, hint=error.hint, detail=error.detail)
        else:
            self.emit(
                "error",
                code="internal",
                text=f"{type(error).__name__}: {error}",
                hint="Please report this with the log.",
                detail="",
            )


def line_sink(stream: TextIO) -> Callable[[Event], None]:
    """A sink that writes each event as one flushed line."""

    def write(event: Event) -> None:
        stream.write(encode(event) + "\n")
        stream.flush()

    return write
