"""The main window, as far as modules reach for it: the choice of the module."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6 import QtWidgets

from host.widgets.base import Property, StandInWidget


class qSlicerModuleSelectorToolBar(StandInWidget, QtWidgets.QToolBar):
    """Switches between modules: leaves the panel of one and enters that of another."""

    EMITS = frozenset({"moduleSelected(QString)"})

    selectedModule = Property("QString", "")

    def selectModule(self, name: str) -> None:
        """Switch to a module; a name that no module has changes nothing, as in Slicer."""
        module = slicer.app.moduleManager().module(name)
        if module is None or name == self.selectedModule:
            return
        self.leave(self.selectedModule)
        self.selectedModule = name
        for entered in _representations(module):
            entered.show()
            entered.enter()
        self.emit_signal("moduleSelected(QString)", name)

    def leave(self, name: str) -> None:
        """Leave a module's panel if it is the one that is shown."""
        if not name or name != self.selectedModule:
            return
        for left in _representations(slicer.app.moduleManager().module(name)):
            left.exit()
            left.hide()
        self.selectedModule = ""


class qSlicerMainWindow(StandInWidget, QtWidgets.QMainWindow):
    """An empty main window; ``slicer.util.mainWindow()`` finds it."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self._selector = qSlicerModuleSelectorToolBar(self)
        self.addToolBar(self._selector)

    def moduleSelector(self) -> qSlicerModuleSelectorToolBar:
        return self._selector


def _representations(module: Any) -> list[Any]:
    """The module's panel, in a list that is empty when it has none."""
    return [module.widgetRepresentation()] if hasattr(module, "widgetRepresentation") else []
