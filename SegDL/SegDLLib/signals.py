"""A minimal signal: callbacks without Qt, so that what runs does not know who watches."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any


class Signal:
    """Calls its slots in the order of connection.  A slot that fails is logged and never stops the sender."""

    def __init__(self) -> None:
        self._slots: list[Callable[..., Any]] = []

    def connect(self, slot: Callable[..., Any]) -> None:
        if slot not in self._slots:
            self._slots.append(slot)

    def disconnect(self, slot: Callable[..., Any] | None = None) -> None:
        """Forget one slot, or all of them."""
        self._slots = [kept for kept in self._slots if slot is not None and kept != slot]

    def emit(self, *arguments: Any) -> None:
        for slot in list(self._slots):
            try:
                slot(*arguments)
            except Exception:
                logging.exception("A listener of SegDL failed")


class Relay:
    """Hands progress to a script's callback outside the signal, so that its exceptions stop the job."""

    def __init__(self, callback: Callable[..., Any] | None):
        self._callback = callback
        self._waiting: list[tuple[Any, ...]] = []

    def receive(self, *progress: Any) -> None:
        self._waiting.append(progress)

    def __call__(self) -> None:
        waiting, self._waiting = self._waiting, []
        for progress in waiting:
            if self._callback is not None:
                self._callback(*progress)
