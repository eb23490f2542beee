"""The container in which the application shows the panel of a scripted module."""

from __future__ import annotations

import sys
from typing import Any

import slicer
from PySide6 import QtWidgets

from host.modules import qSlicerScriptedLoadableModule
from host.widgets.containers import qSlicerWidget


class qSlicerScriptedLoadableModuleWidget(qSlicerWidget):
    """Holds the layout that a module's widget class fills, and calls its setup, enter and exit."""

    @classmethod
    def of_module(cls, module: qSlicerScriptedLoadableModule) -> qSlicerScriptedLoadableModuleWidget:
        panel = cls()
        panel._module = module
        panel._widget, panel._entered = None, False
        QtWidgets.QVBoxLayout(panel)
        panel.setObjectName(f"{module.name}ModuleWidget")
        panel.setMRMLScene(slicer.mrmlScene)
        panel.build()
        return panel

    def build(self) -> None:
        """Make the module's widget object and let it set up its panel."""
        name = f"{self._module.name}Widget"
        self._widget = getattr(sys.modules[self._module.name], name)(self)
        setattr(slicer.modules, name, self._widget)
        self._widget.setup()

    @property
    def isEntered(self) -> bool:
        return self._entered

    def self(self) -> Any:
        """The module's ScriptedLoadableModuleWidget."""
        return self._widget

    def enter(self) -> None:
        self._entered = True
        if hasattr(self._widget, "enter"):
            self._widget.enter()

    def exit(self) -> None:
        self._entered = False
        if hasattr(self._widget, "exit"):
            self._widget.exit()

    def reload(self) -> None:
        """Build the panel again from the source as it is now."""
        entered = self._entered
        if entered:
            self.exit()
        self.build()
        if entered:
            self.enter()

    def remove(self) -> None:
        """Take the panel off the screen for good."""
        self._widget = None
        self.deleteLater()
