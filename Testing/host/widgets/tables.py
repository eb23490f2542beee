"""qMRMLTableView: shows a table node."""

from __future__ import annotations

from typing import Any

from PySide6 import QtGui, QtWidgets

from host.widgets.base import Observers, Property, StandInWidget


class qMRMLTableView(StandInWidget, QtWidgets.QTableView):
    """Shows the columns of a table node and follows its changes; cells are not edited here."""

    EMITS = frozenset({"mrmlSceneChanged(vtkMRMLScene*)", "selectionChanged()"})

    transposed = Property("bool", False, lambda widget, _value: widget._fill())
    firstRowLocked = Property("bool", False)
    firstColumnLocked = Property("bool", False)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: Any = None
        self._node: Any = None
        self._observers = Observers(self)
        self.setModel(QtGui.QStandardItemModel(self))
        self.setEditTriggers(QtWidgets.QAbstractItemView.EditTrigger.NoEditTriggers)
        self.selectionModel().selectionChanged.connect(lambda *_: self.emit_signal("selectionChanged()"))

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        self.emit_signal("mrmlSceneChanged(vtkMRMLScene*)", scene)

    def mrmlTableNode(self) -> Any:
        return self._node

    def setMRMLTableNode(self, node: Any) -> None:
        """Show a table node, or nothing."""
        self._node = node
        self._observers.clear()
        if node is not None:
            self._observers.add(node, "ModifiedEvent", self._fill)
        self._fill()

    def _fill(self, *_arguments: Any) -> None:
        model = self.model()
        model.clear()
        if self._node is None:
            return
        names = [self._node.GetColumnName(index) for index in range(self._node.GetNumberOfColumns())]
        if self._node.GetUseColumnTitleAsColumnHeader():
            names = [self._node.GetColumnTitle(name) or name for name in names]
        rows = [
            [self._node.GetCellText(row, column) for column in range(len(names))]
            for row in range(self._node.GetNumberOfRows())
        ]
        if self.transposed:
            model.setVerticalHeaderLabels(names)
            rows = [list(row) for row in zip(*rows, strict=True)]
        else:
            model.setHorizontalHeaderLabels(names)
        for row, texts in enumerate(rows):
            for column, text in enumerate(texts):
                model.setItem(row, column, QtGui.QStandardItem(text))
