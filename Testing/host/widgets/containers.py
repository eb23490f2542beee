"""Widgets that hold others: qMRMLWidget and ctk's collapsible boxes."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from host.widgets.base import Property, SceneWidget, StandInWidget

HEADER = 24
"""Height of the clickable header of a collapsible box, in pixels."""


class qMRMLWidget(SceneWidget):
    """A plain widget with a scene."""


class qSlicerWidget(SceneWidget):
    """A plain widget with a scene, as the application's own panels are."""


class ctkCollapsibleButton(StandInWidget, QtWidgets.QAbstractButton):
    """A box with a header; a click on the header shows or hides what is in it."""

    EMITS = frozenset({"contentsCollapsed(bool)"})

    def _collapse(self, collapsed: bool) -> None:
        options = QtCore.Qt.FindChildOption.FindDirectChildrenOnly
        for child in self.findChildren(QtWidgets.QWidget, options=options):
            child.setVisible(not collapsed)
        self.setChecked(not collapsed)
        self.updateGeometry()
        self.update()
        self.emit_signal("contentsCollapsed(bool)", collapsed)

    collapsed = Property("bool", False, _collapse)
    flat = Property("bool", False)
    collapsedHeight = Property("int", 14)

    def __init__(self, *arguments: Any) -> None:
        text = arguments[0] if arguments and isinstance(arguments[0], str) else ""
        parent = next((item for item in arguments if isinstance(item, QtWidgets.QWidget)), None)
        super().__init__(parent)
        self.setText(text)
        self.setCheckable(True)
        self.setChecked(True)
        self.setContentsMargins(4, HEADER + 4, 4, 4)
        self.toggled.connect(self._follow_checked)

    def _follow_checked(self, checked: bool) -> None:
        self.collapsed = not checked

    def childEvent(self, event: QtCore.QChildEvent) -> None:
        """A widget that is added to a collapsed box stays hidden."""
        super().childEvent(event)
        child = event.child()
        if event.added() and isinstance(child, QtWidgets.QWidget) and self.collapsed:
            child.hide()

    def hitButton(self, position: QtCore.QPoint) -> bool:
        return position.y() < HEADER

    def sizeHint(self) -> QtCore.QSize:
        inner = self.layout().totalSizeHint() if self.layout() and not self.collapsed else QtCore.QSize(80, 0)
        return QtCore.QSize(inner.width(), max(HEADER, inner.height()))

    def minimumSizeHint(self) -> QtCore.QSize:
        layout = self.layout()
        inner = layout.totalMinimumSize() if layout and not self.collapsed else QtCore.QSize(80, 0)
        return QtCore.QSize(inner.width(), max(HEADER, inner.height()))

    def paintEvent(self, _event: QtGui.QPaintEvent) -> None:
        painter = QtGui.QPainter(self)
        palette = self.palette()
        painter.fillRect(0, 0, self.width(), HEADER - 2, palette.color(QtGui.QPalette.ColorRole.Midlight))
        painter.setPen(palette.color(QtGui.QPalette.ColorRole.Mid))
        painter.drawRect(0, 0, self.width() - 1, (HEADER if self.collapsed else self.height()) - 2)
        painter.setPen(palette.color(QtGui.QPalette.ColorRole.WindowText))
        painter.drawText(8, 16, ("\u25b8 " if self.collapsed else "\u25be ") + self.text())
        painter.end()


class ctkCollapsibleGroupBox(StandInWidget, QtWidgets.QGroupBox):
    """A group box whose check mark in the title shows or hides what is in it."""

    def _collapse(self, collapsed: bool) -> None:
        options = QtCore.Qt.FindChildOption.FindDirectChildrenOnly
        for child in self.findChildren(QtWidgets.QWidget, options=options):
            child.setVisible(not collapsed)
        self.setChecked(not collapsed)

    collapsed = Property("bool", False, _collapse)
    collapsedHeight = Property("int", 14)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.setCheckable(True)
        self.setChecked(True)
        self.toggled.connect(self._follow_checked)

    def _follow_checked(self, checked: bool) -> None:
        self.collapsed = not checked


class ctkExpandButton(StandInWidget, QtWidgets.QToolButton):
    """A tool button that turns its arrow when it is pressed."""

    mirrorOnExpand = Property("bool", False)
    orientation = Property("enum", 1)
