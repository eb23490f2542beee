"""Progress for people: a bar on a terminal, a few plain lines elsewhere; JSON lines for programs."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
from collections.abc import Iterator
from typing import TextIO

from SegDLEngine.protocol import Event, Reporter, line_sink

_BAR_LIMITS = (10, 40)


def add_progress(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--progress",
        choices=("bar", "json", "none"),
        default="bar",
        help="bar on stderr (default), JSON lines of the protocol on stdout, or none",
    )


@contextlib.contextmanager
def reporting(arguments: argparse.Namespace) -> Iterator[Reporter]:
    """The reporter that ``--progress`` asks for, within a block that leaves the terminal tidy."""
    if arguments.progress == "json":
        yield Reporter(line_sink(sys.stdout))
        return
    terminal = TerminalProgress(sys.stderr, bar=arguments.progress == "bar", logs=arguments.debug)
    try:
        yield Reporter(terminal)
    finally:
        terminal.close()


class TerminalProgress:
    """A sink of events: one bar that is redrawn on a terminal, one line for each stage in a log file.

    Warnings are always shown; ``logs`` shows the log events too.  An error ends the line of the bar, so that
    its text, which is not shown here, gets a line of its own.
    """

    def __init__(self, stream: TextIO, *, bar: bool = True, logs: bool = False):
        self._stream = stream
        self._bar = bar
        self._logs = logs
        self._live = stream.isatty()
        self._shown = ""
        self._stage = ""

    def __call__(self, event: Event) -> None:
        kind = event["event"]
        if kind == "warning":
            self._line(f"segdl: warning: {event['text']}")
        elif kind == "log" and self._logs:
            self._line(event["text"])
        elif kind == "plan" and self._bar:
            self._line(_plan_line(event))
        elif kind == "progress" and self._bar:
            self._progress(event)
        elif kind == "error":
            self.close()

    def close(self) -> None:
        """End the line of a live bar."""
        if self._shown:
            self._stream.write("\n")
            self._stream.flush()
            self._shown = ""

    def _progress(self, event: Event) -> None:
        if self._live:
            columns = shutil.get_terminal_size().columns
            self._draw(bar_line(event["fraction"], event["stage"], event.get("eta_s"), columns))
        elif event["stage"] != self._stage:
            self._line(f"{100 * event['fraction']:3.0f} %  {event['stage']}")
        self._stage = event["stage"]

    def _draw(self, line: str) -> None:
        if line != self._shown:
            self._stream.write("\r" + line.ljust(len(self._shown)))
            self._stream.flush()
            self._shown = line

    def _line(self, text: str) -> None:
        if self._shown:
            self._stream.write("\r" + " " * len(self._shown) + "\r")
        self._stream.write(text + "\n")
        if self._shown:
            self._stream.write(self._shown)
        self._stream.flush()


def bar_line(fraction: float, stage: str, eta_s: float | None, columns: int) -> str:
    """One line of at most ``columns - 1`` characters, so that no terminal wraps it."""
    words = f" {100 * fraction:3.0f} %  {stage}"
    if eta_s is not None and fraction < 1:
        words += f", {duration(eta_s)} left"
    width = min(_BAR_LIMITS[1], columns - len(words) - 3)
    if width < _BAR_LIMITS[0]:
        return words.strip()[: max(columns - 1, 0)]
    full = round(width * fraction)
    return f"[{'#' * full}{'-' * (width - full)}]{words}"


def duration(seconds: float) -> str:
    """'5 s', '3 min 20 s' or '2 h 5 min'."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _plan_line(event: Event) -> str:
    parts = [f"{event['device']}" if event.get("device") else "", f"{event.get('precision') or ''}"]
    if event.get("seconds"):
        parts.append(f"expected {duration(event['seconds'])}")
    if event.get("memory_mb"):
        parts.append(f"{event['memory_mb'] / 1024:.1f} GB")
    return "Plan: " + ", ".join(part for part in parts if part)
