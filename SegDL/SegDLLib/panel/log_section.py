"""What happened, line by line, and the report to copy."""

from __future__ import annotations

import time
from collections import deque

import qt

from SegDLLib.signals import Signal

_LINES = 2000


class LogSection:
    """Signal ``copyClicked()``."""

    def __init__(self, ui):
        self._ui = ui
        self._shown: deque[str] = deque(maxlen=_LINES)
        self.copyClicked = Signal()
        ui.logText.setMaximumBlockCount(_LINES)
        ui.copyReportButton.connect("clicked()", self.copyClicked.emit)

    def append(self, text: str, *, private: bool = False) -> None:
        """``private``: not for the report, as lines about a user's cases may name patients."""
        line = f"{time.strftime('%H:%M:%S')}  {text}"
        self._ui.logText.appendPlainText(line)
        if not private:
            self._shown.append(line)

    def lines(self) -> list[str]:
        """The lines that may leave this computer."""
        return list(self._shown)

    def copy(self, text: str) -> None:
        qt.QApplication.clipboard().setText(text)
