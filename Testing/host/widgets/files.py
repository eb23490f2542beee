"""ctk's widgets for files and folders."""

from __future__ import annotations

import fnmatch
import re
from typing import Any

from PySide6 import QtCore, QtWidgets

from host.widgets.base import Property, StandInWidget, compact_layout


class ctkPathLineEdit(StandInWidget, QtWidgets.QWidget):
    """A path in an editable combo box that remembers earlier ones; browsing opens no dialog here.

    As in ctk, a path that the name filters do not accept, without them the empty one, is told by
    ``validInputChanged`` only; whether it exists does not matter.
    """

    EMITS = frozenset({"currentPathChanged(QString)", "validInputChanged(bool)"})
    Dirs, Files, Executable, Readable, Writable = 0x001, 0x002, 0x040, 0x010, 0x020

    def _restore(self, _key: str) -> None:
        self.retrieveHistory()

    filters = Property("enum", 0x007)
    label = Property("QString", "")
    minimumContentsLength = Property("int", 0)
    nameFilters = Property("QStringList", ())
    settingKey = Property("QString", "", _restore)
    showBrowseButton = Property("bool", True, lambda widget, shown: widget._browse.setVisible(shown))
    showHistoryButton = Property("bool", True)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._path, self._valid = "", False
        self._combo = QtWidgets.QComboBox(self)
        self._combo.setEditable(True)
        self._combo.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed)
        self._browse = QtWidgets.QToolButton(self)
        self._browse.setText("...")
        compact_layout(self, self._combo, self._browse)
        self._combo.editTextChanged.connect(self._changed)

    @property
    def currentPath(self) -> str:
        return self._path

    @currentPath.setter
    def currentPath(self, path: str) -> None:
        if not isinstance(path, str):
            raise AttributeError(f"property 'currentPath' of ctkPathLineEdit does not accept {path!r}")
        self._combo.setEditText(path)

    def setCurrentPath(self, path: str) -> None:
        self.currentPath = path

    def comboBox(self) -> QtWidgets.QComboBox:
        return self._combo

    def addCurrentPathToHistory(self) -> None:
        """Keep the path among the choices and, under ``settingKey``, in the settings."""
        if not self._path:
            return
        history = [self._path, *(item for item in self._history() if item != self._path)]
        self._show_history(history)
        if self.settingKey:
            QtCore.QSettings().setValue(self.settingKey, history)

    def retrieveHistory(self) -> None:
        stored = QtCore.QSettings().value(self.settingKey) if self.settingKey else None
        if stored:
            self._show_history([stored] if isinstance(stored, str) else list(stored))

    def _history(self) -> list[str]:
        return [self._combo.itemText(index) for index in range(self._combo.count())]

    def _show_history(self, history: list[str]) -> None:
        path = self._path or (history[0] if history else "")
        blocked = self._combo.blockSignals(True)
        self._combo.clear()
        self._combo.addItems(history)
        self._combo.blockSignals(blocked)
        self._combo.setEditText(path)
        self._changed(path)

    def _changed(self, path: str) -> None:
        if path == self._path:
            return
        self._path = path
        valid = self._accepts(path)
        if valid:
            self.emit_signal("currentPathChanged(QString)", path)
        if valid != self._valid:
            self._valid = valid
            self.emit_signal("validInputChanged(bool)", valid)

    def _accepts(self, path: str) -> bool:
        patterns = [word for text in self.nameFilters for word in re.findall(r"[^\s();]*\*[^\s();]*", text)]
        return bool(path) and (not patterns or any(fnmatch.fnmatch(path, pattern) for pattern in patterns))


class ctkDirectoryButton(StandInWidget, QtWidgets.QWidget):
    """A button that shows a folder; a click opens no dialog here."""

    EMITS = frozenset({"directoryChanged(QString)", "directorySelected(QString)"})

    def _show(self, folder: str) -> None:
        self._button.setText(self.text or folder)
        self.emit_signal("directoryChanged(QString)", folder)

    directory = Property("QString", ".", _show)
    caption = Property("QString", "")
    text = Property("QString", "", lambda widget, text: widget._button.setText(text))

    def __init__(self, *arguments: Any) -> None:
        parent = next((item for item in arguments if isinstance(item, QtWidgets.QWidget)), None)
        super().__init__(parent)
        self._button = QtWidgets.QPushButton(".", self)
        compact_layout(self, self._button)
