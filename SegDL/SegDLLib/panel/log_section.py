"""What happened, line by line, and the report to copy."""

from __future__ import annotations

import time

import qt

from SegDLLib.signals import Signal

_LINES = 2000


class LogSection:
    """Signal ``copyClicked()``."""

    def __init__(self, ui):
        self._ui = ui
        self.copyClicked = Signal()
        ui.logText.setMaximumBlockCount(_LINES)
        ui.copyReportButton.connect("clicked()", self.copyClicked.emit)

    def append(self, text: str) -> None:
        self._ui.logText.appendPlainText(f"{time.strftime('%H:%M:%S')}  {text}")

    def lines(self) -> list[str]:
        return self._ui.logText.toPlainText().splitlines()

    def copy(self, text: str) -> None:
        qt.QApplication.clipboard().setText(text)
