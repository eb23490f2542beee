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
