"""What a user does with a panel: click, choose, type, wait, look."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
from PySide6 import QtCore, QtTest, QtWidgets


def click(widget: QtWidgets.QWidget) -> None:
    """Click the middle of a widget with the left mouse button.

    Raises:
        RuntimeError: the widget is disabled or not visible, so that a user could not click it.
    """
    _require_usable(widget)
    if isinstance(widget, (QtWidgets.QCheckBox, QtWidgets.QRadioButton)):
        position = QtCore.QPoint(8, widget.height() // 2)
    else:
        position = QtCore.QPoint(widget.width() // 2, min(widget.height() // 2, 12))
    QtTest.QTest.mouseClick(
        widget, QtCore.Qt.MouseButton.LeftButton, QtCore.Qt.KeyboardModifier.NoModifier, position
    )
    process_events()


def choose(combo: Any, text: str) -> None:
    """Pick the entry of a combo box or of a node selector that shows ``text``."""
    _require_usable(combo)
    inner = combo if isinstance(combo, QtWidgets.QComboBox) else combo.findChild(QtWidgets.QComboBox)
    index = inner.findText(text)
    if index < 0:
        entries = [inner.itemText(item) for item in range(inner.count())]
        raise RuntimeError(f"{combo.objectName()} has no entry {text!r}, only {entries}")
    inner.setCurrentIndex(index)
    inner.activated.emit(index)
    process_events()


def type_text(widget: QtWidgets.QWidget, text: str) -> None:
    """Replace the text of a line edit by typing, and press Enter."""
    _require_usable(widget)
    if hasattr(widget, "selectAll"):
        widget.selectAll()
    QtTest.QTest.keyClicks(widget, text)
    QtTest.QTest.keyClick(widget, QtCore.Qt.Key.Key_Return)
    process_events()


def click_cell(table: QtWidgets.QTableView, row: int, column: int = 0) -> None:
    """Click a cell of a table."""
    _require_usable(table)
    index = table.model().index(row, column)
    if not index.isValid():
        raise RuntimeError(f"{table.objectName()} has no cell in row {row}, column {column}")
    table.scrollTo(index)
    QtTest.QTest.mouseClick(
        table.viewport(),
        QtCore.Qt.MouseButton.LeftButton,
        QtCore.Qt.KeyboardModifier.NoModifier,
        table.visualRect(index).center(),
    )
    process_events()


def wait_for(condition: Callable[[], bool], seconds: float = 30.0, what: str = "") -> None:
    """Let events run until ``condition()`` is true.

    Raises:
        TimeoutError: it did not become true within ``seconds``.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what or 'the condition'} did not come true within {seconds:g} s")
        process_events()
        time.sleep(0.005)


def process_events() -> None:
    """Let Qt handle what is waiting, including widgets to be deleted."""
    slicer.app.processEvents()
    QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)


def screenshot(widget: QtWidgets.QWidget, path: str | Path) -> Path:
    """Save a picture of a widget as PNG; returns the path."""
    process_events()
    if not widget.grab().save(str(path)):
        raise OSError(f"{path} could not be written")
    return Path(path)


def save_views(path: str | Path) -> Path:
    """Save the application's three slice views and the 3D view, as they are now, as one PNG."""
    return slicer.app.layoutManager().host_views.save_montage(path)


def _require_usable(widget: QtWidgets.QWidget) -> None:
    if not widget.isEnabled() or not widget.isVisible():
        state = "disabled" if widget.isVisible() else "not visible"
        raise RuntimeError(f"{widget.objectName() or type(widget).__name__} is {state}: a user cannot use it")
