"""Loads ``.ui`` files, strictly: an unknown widget class, property, signal or slot is an error.

Qt Designer's own loader skips what it does not know; in Slicer that shows only as a dead widget.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from typing import Any

from PySide6 import QtCore, QtUiTools, QtWidgets

from host import metadata, signals
from host.strictness import allowed, members, methods, normalised
from host.widgets.base import REGISTRY

SPECIAL_CLASSES = frozenset({"Line", "QLayoutWidget"})
"""Names that only ``.ui`` files use."""


class UiError(RuntimeError):
    """A ``.ui`` file that Slicer would not load as it is meant."""


@dataclass(frozen=True)
class Connection:
    """One line of the file's list of connections."""

    sender: str
    signal: str
    receiver: str
    slot: str


@dataclass(frozen=True)
class Setting:
    """A property of a stand-in, set after loading because Qt does not know it."""

    widget: str
    name: str
    value: Any


class UiLoader(QtUiTools.QUiLoader):
    """``qt.QUiLoader``: makes stand-ins for Slicer's widgets and carries out the connections."""

    def __init__(self, parent: QtCore.QObject | None = None) -> None:
        super().__init__(parent)
        for cls in REGISTRY.values():
            self.registerCustomWidget(cls)

    def load(self, device: QtCore.QIODevice, parent: QtWidgets.QWidget | None = None) -> QtWidgets.QWidget:
        """The top widget of the file, with all connections made.

        Raises:
            UiError: the file names a class, property, signal or slot that does not exist in Slicer.
        """
        root = ElementTree.fromstring(bytes(device.readAll()))
        self._check_classes(root)
        connections = _take_connections(root)
        settings = _take_settings(root)
        _check_qt_properties(root)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(root))
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        top = super().load(buffer, parent)
        if top is None:
            raise UiError(f"the file could not be loaded: {self.errorString()}")
        for setting in settings:
            setattr(_find(top, setting.widget), setting.name, setting.value)
        for connection in connections:
            _connect(top, connection)
        return top

    def _check_classes(self, root: ElementTree.Element) -> None:
        known = {*self.availableWidgets(), *REGISTRY, *SPECIAL_CLASSES}
        for widget in root.iter("widget"):
            name = widget.get("class", "")
            if name not in known or not (members(name) or name in SPECIAL_CLASSES):
                raise UiError(f"{widget.get('name')}: the host has no widget class {name}")
        declared = {item.findtext("class") for item in root.iter("customwidget")}
        for widget in root.iter("widget"):
            if widget.get("class") in REGISTRY and widget.get("class") not in declared:
                raise UiError(f"{widget.get('name')}: <customwidgets> does not declare {widget.get('class')}")


def _take_connections(root: ElementTree.Element) -> list[Connection]:
    found = [
        Connection(*(item.findtext(key, "") for key in ("sender", "signal", "receiver", "slot")))
        for item in root.iter("connection")
    ]
    for part in root.findall("connections"):
        root.remove(part)
    return found


def _take_settings(root: ElementTree.Element) -> list[Setting]:
    """Take the stand-ins' own properties out of the file; dynamic properties stay for Qt."""
    found = []
    for widget in root.iter("widget"):
        cls = REGISTRY.get(widget.get("class", ""))
        if cls is None:
            continue
        for item in widget.findall("property"):
            name = item.get("name", "")
            in_qt = name in metadata.properties(cls)
            if item.get("stdset") == "0" or (in_qt and not isinstance(getattr(cls, name, None), property)):
                continue
            if not isinstance(getattr(cls, name, None), property) or name not in allowed(cls):
                raise UiError(f"{widget.get('name')}: {cls.__name__} has no property {name}")
            found.append(Setting(widget.get("name", ""), name, _value(item[0])))
            widget.remove(item)
    return found


def _check_qt_properties(root: ElementTree.Element) -> None:
    for widget in root.iter("widget"):
        cls = REGISTRY.get(widget.get("class", "")) or getattr(QtWidgets, widget.get("class", ""), None)
        if cls is None:
            continue
        for item in widget.findall("property"):
            name = item.get("name", "")
            if item.get("stdset") != "0" and name not in metadata.properties(cls):
                raise UiError(f"{widget.get('name')}: {cls.__name__} has no property {name}")


def _value(element: ElementTree.Element) -> Any:
    text = (element.text or "").strip()
    if element.tag == "bool":
        return text == "true"
    if element.tag == "number":
        return int(text)
    if element.tag in ("double", "float"):
        return float(text)
    if element.tag in ("string", "cstring"):
        return element.text or ""
    if element.tag == "stringlist":
        return [child.text or "" for child in element]
    if element.tag == "set":
        return _flags(text)
    raise UiError(f"a property of type <{element.tag}> is not understood for a stand-in")


def _flags(text: str) -> int:
    """The value of ``ctkPathLineEdit::Dirs|ctkPathLineEdit::Files``."""
    value = 0
    for word in text.split("|"):
        owner, _, name = word.strip().partition("::")
        cls = REGISTRY.get(owner)
        if cls is None or name not in allowed(cls) or not hasattr(cls, name):
            raise UiError(f"the flag {word.strip()} does not exist")
        value |= int(getattr(cls, name))
    return value


def _find(top: QtWidgets.QWidget, name: str) -> QtCore.QObject:
    found = top if top.objectName() == name else top.findChild(QtCore.QObject, name)
    if found is None:
        raise UiError(f"the file connects {name}, which it does not contain")
    return found


def _connect(top: QtWidgets.QWidget, connection: Connection) -> None:
    sender, receiver = _find(top, connection.sender), _find(top, connection.receiver)
    slot = normalised(connection.slot)
    name = slot.split("(")[0]
    if slot not in metadata.slots(type(receiver)) and name not in methods(type(receiver).__name__):
        raise UiError(f"{connection.receiver}: {type(receiver).__name__} has no slot {slot}")
    if not signals.connect(sender, connection.signal, getattr(receiver, name)):
        raise UiError(f"{connection.sender}: {type(sender).__name__} has no signal {connection.signal}")
