"""What all stand-in widgets share: typed properties, a scene, and the list of the classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6 import QtCore, QtWidgets

from host.pythonqt import StandIn
from host.signals import raw_connect

REGISTRY: dict[str, type] = {}
"""The stand-ins by name, in the order in which they are defined."""


class StandInWidget(StandIn):
    """A stand-in for one of Slicer's widgets; subclasses named like the original register themselves."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if cls.__name__.startswith(("ctk", "qMRML", "qSlicer")):
            REGISTRY[cls.__name__] = cls


class Property(property):
    """A property of a C++ type kept in the widget, with an optional action after a change.

    Args:
        kind: "bool", "int", "double", "QString" or "QStringList"; "enum" takes any integer.
        default: the value at first.
        after: called as ``after(widget, value)`` when the value has changed.
    """

    def __init__(self, kind: str, default: Any, after: Callable[[Any, Any], None] | None = None) -> None:
        self._kind, self._default, self._after = kind, default, after
        super().__init__(self._get, self._put)

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def _get(self, widget: Any) -> Any:
        return widget.__dict__.get(f"_property_{self._name}", self._default)

    def _put(self, widget: Any, value: Any) -> None:
        value = _converted(value, self._kind, self._name, widget)
        if value != self._get(widget):
            widget.__dict__[f"_property_{self._name}"] = value
            if self._after:
                self._after(widget, value)


def _converted(value: Any, kind: str, name: str, widget: Any) -> Any:
    """``value`` as the C++ type; AttributeError, as PythonQt raises, for a value of a wrong type."""
    if kind == "bool" and isinstance(value, (bool, int)):
        return bool(value)
    if kind in ("int", "enum") and isinstance(value, (int, float)) and not isinstance(value, bool):
        return int(value) if kind == "int" else value
    if kind == "double" and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if kind == "QString" and isinstance(value, str):
        return value
    if (
        kind == "QStringList"
        and isinstance(value, (list, tuple))
        and all(isinstance(item, str) for item in value)
    ):
        return tuple(value)
    raise AttributeError(
        f"property '{name}' of {type(widget).__name__} does not accept {type(value).__name__} ({value!r})"
    )


class SceneWidget(StandInWidget, QtWidgets.QWidget):
    """A widget that knows a scene."""

    EMITS = frozenset({"mrmlSceneChanged(vtkMRMLScene*)"})

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: Any = None

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        if scene is self._scene:
            return
        previous, self._scene = self._scene, scene
        self.scene_changed(previous, scene)
        if "mrmlSceneChanged(vtkMRMLScene*)" in self.EMITS:
            self.emit_signal("mrmlSceneChanged(vtkMRMLScene*)", scene)

    def scene_changed(self, previous: Any, scene: Any) -> None:
        """To be overridden by widgets that show something of the scene."""


class Observers:
    """Observations of VTK objects that are given up together, at the latest with their owner."""

    def __init__(self, owner: QtCore.QObject) -> None:
        self._tags: list[tuple[Any, int]] = []
        # Not a method of the widget: Qt calls none of those any more when it destroys one.
        raw_connect(owner, QtCore.SIGNAL("destroyed()"), self.clear)

    def add(self, subject: Any, event: Any, callback: Callable[..., None]) -> None:
        self._tags.append((subject, subject.AddObserver(event, callback)))

    def clear(self) -> None:
        for subject, tag in self._tags:
            subject.RemoveObserver(tag)
        self._tags.clear()


def compact_layout(widget: QtWidgets.QWidget, *contents: QtWidgets.QWidget) -> None:
    """Put the contents side by side, without margins."""
    layout = QtWidgets.QHBoxLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(4)
    for content in contents:
        layout.addWidget(content)
