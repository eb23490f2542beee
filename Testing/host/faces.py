"""Classes as the modules ``qt``, ``ctk`` and ``slicer`` show them, checked against Slicer's lists."""

from __future__ import annotations

import enum
import types
from typing import Any

from host import signals
from host.pythonqt import called_as_pythonqt, single_shot
from host.strictness import KEYWORD_NAMES, NotOnHost, allowed, namespace_of
from host.values import EnumType, Face, outward

_STATIC = {"singleShot": single_shot, "connect": signals.connect, "disconnect": signals.disconnect}
"""Static functions that PythonQt has in a form of its own."""


class QtClass(Face):
    """A class as ``qt``, ``ctk`` and ``slicer`` show it: constructor, static methods, enumeration values.

    It can be called, subclassed and given to isinstance; attributes are checked against Slicer's lists.
    """

    @property
    def __init__(self) -> Any:  # type: ignore[misc]
        """So that ``qt.QWidget.__init__(self, parent)`` reaches the real class from a subclass."""
        return self.host_class.__init__

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        name = self.host_class.__name__
        return called_as_pythonqt(self.host_class, name)(*arguments, **keywords)

    def __getattr__(self, name: str) -> Any:
        cls = self.host_class
        if name.startswith("__"):
            return getattr(cls, name)
        if KEYWORD_NAMES.get(name, name) not in allowed(cls):
            raise AttributeError(f"Slicer's {cls.__name__} has no '{name}'")
        if name in _STATIC:
            return _STATIC[name]
        value = getattr(cls, name, None)
        if value is None:
            raise NotOnHost(f"Slicer's {cls.__name__} has '{name}', the host does not")
        if isinstance(value, type) and issubclass(value, enum.Enum):
            return EnumType(value)
        return called_as_pythonqt(value, f"{cls.__name__}.{name}") if callable(value) else outward(value)

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (self.host_class,)

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, self.host_class)

    def __subclasscheck__(self, subclass: Any) -> bool:
        return issubclass(subclass.host_class if isinstance(subclass, QtClass) else subclass, self.host_class)

    def __repr__(self) -> str:
        return f"<class '{self.host_class.__name__}' of the host>"


def qt_class(cls: type) -> QtClass:
    """The face of ``cls`` that module code sees."""
    face = object.__new__(QtClass)
    object.__setattr__(face, "host_class", cls)
    return face


class Namespace(types.ModuleType):
    """The module ``qt`` or ``ctk``: only classes that Slicer lists under this name."""

    def __init__(self, name: str, classes: dict[str, type]) -> None:
        super().__init__(name)
        self._classes = classes

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if namespace_of(name) != self.__name__:
            raise AttributeError(f"Slicer has no {self.__name__}.{name}, or it is not in the host's facts")
        cls = self._classes.get(name)
        if cls is None:
            raise NotOnHost(f"Slicer has {self.__name__}.{name}, the host does not")
        face = qt_class(cls)
        self.__dict__[name] = face
        return face
