"""The choice of a model and what it says about itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from SegDLLib.signals import Signal


class ModelSection:
    """Signal ``chosen(model id)``."""

    def __init__(self, ui):
        self._ui = ui
        self._rows: list[Mapping[str, Any]] = []
        self.chosen = Signal()
        ui.modelSelector.connect("currentIndexChanged(int)", self._onIndex)

    def show(self, rows: Sequence[Mapping[str, Any]], current: str, info: str) -> None:
        """List the models (id, title, installed), select one and show ``info`` (rich text) about it."""
        selector = self._ui.modelSelector
        selector.blockSignals(True)
        if list(rows) != self._rows:
            self._rows = list(rows)
            selector.clear()
            for index, row in enumerate(self._rows):
                selector.addItem(self._title(row), row["id"])
                # The list may be narrower than a title.
                selector.setItemData(index, self._title(row), qt.Qt.ToolTipRole)
        selector.setCurrentIndex(next((at for at, row in enumerate(self._rows) if row["id"] == current), -1))
        selector.blockSignals(False)
        self._ui.modelInfoLabel.setText(info)

    def setEnabled(self, enabled: bool) -> None:
        self._ui.modelSelector.setEnabled(enabled)

    def _title(self, row: Mapping[str, Any]) -> str:
        return row["title"] if row["installed"] else _("{title} (not installed)").format(title=row["title"])

    def _onIndex(self, index: int) -> None:
        if 0 <= index < len(self._rows):
            self.chosen.emit(self._rows[index]["id"])
