"""ctk's combo box, check box and message box."""

from __future__ import annotations

from PySide6 import QtWidgets

from host.widgets.base import Property, StandInWidget


class ctkComboBox(StandInWidget, QtWidgets.QComboBox):
    """A combo box with a text for no choice."""

    defaultText = Property("QString", "", lambda widget, text: widget.setPlaceholderText(text))
    forceDefault = Property("bool", False)

    @property
    def currentUserDataAsString(self) -> str:
        return str(self.currentData() or "")

    @currentUserDataAsString.setter
    def currentUserDataAsString(self, text: str) -> None:
        self.setCurrentIndex(self.findData(text))

    def setCurrentUserDataAsString(self, text: str) -> None:
        self.currentUserDataAsString = text


class ctkMessageBox(StandInWidget, QtWidgets.QMessageBox):
    """A message box with the choice not to be shown again."""

    dontShowAgain = Property("bool", False)
    dontShowAgainVisible = Property("bool", False)
    dontShowAgainSettingsKey = Property("QString", "")

    def setDontShowAgain(self, dont_show: bool) -> None:
        self.dontShowAgain = dont_show
