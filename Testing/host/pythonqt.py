"""PythonQt's calling conventions on PySide6's classes.

Every read and write of an attribute of a Qt object passes through here.  Code of the host itself (and of
PySide6) sees plain PySide6; all other code, that is modules, their tests and ``slicer.util``, sees what
PythonQt shows:

- Qt properties are attributes; they refuse unknown names and values of a wrong type;
- only members that Slicer lists exist (:mod:`host.strictness`);
- enumerations are integers, methods take no keyword arguments;
- ``connect`` and ``disconnect`` take C++ signatures (:mod:`host.signals`);
- objects are touched from the main thread only.
"""

from __future__ import annotations

import enum
import inspect
import sys
import threading
import types
from collections.abc import Callable
from typing import Any

import shiboken6
from PySide6 import QtCore, QtGui, QtTest, QtUiTools, QtWidgets

from host import metadata, signals
from host.strictness import KEYWORD_NAMES, NotOnHost, allowed
from host.values import inward, outward

QT_MODULES = (QtUiTools, QtTest, QtGui, QtWidgets, QtCore)
_PLAIN_CALLERS = ("host.", "PySide6", "shiboken")
_MODULE_SIDE = "host.base_classes"
"""The one file of the host that stands on the modules' side of the border."""

_main_thread = threading.main_thread().ident
_raw_set = QtCore.QObject.__mro__[-2].__setattr__
"""Setting an attribute by Shiboken's common base: Qt's own ones refuse objects of Python subclasses."""


class StandIn:
    """Base of the host's versions of Slicer's classes; ``EMITS`` names the signals emitted from Python."""

    EMITS: frozenset[str] | tuple[str, ...] = ()

    def signal_slots(self) -> dict[str, list[Callable[..., Any]]]:
        return self.__dict__.setdefault("_signal_slots", {})

    def emit_signal(self, signature: str, *arguments: Any) -> None:
        """Call the slots connected to one of ``EMITS``, unless signals are blocked."""
        if self.signalsBlocked():  # type: ignore[attr-defined]
            return
        for slot in list(self.signal_slots().get(signature, ())):
            signals.call_slot(slot, *arguments)


def qt_classes() -> dict[str, type]:
    """All Qt classes of PySide6 by name."""
    return {
        name: getattr(module, name)
        for module in QT_MODULES
        for name in dir(module)
        if name.startswith("Q") and isinstance(getattr(module, name), type)
    }


def install() -> None:
    """Put the conventions on all Qt classes, once per process."""
    if "_conventions" in QtCore.QObject.__dict__:
        return
    classes = [cls for cls in qt_classes().values() if not issubclass(cls, enum.Enum)]
    families = [base for cls in classes for base in cls.__mro__]
    for cls in dict.fromkeys(base for base in families if _has_own_access(base)):
        cls.__getattribute__ = _reader(cls.__getattribute__)
        if "__setattr__" in cls.__dict__:
            cls.__setattr__ = _writer(_raw_set)
    metadata.collect(classes)
    QtCore.QObject._conventions = True


def _has_own_access(cls: type) -> bool:
    """True for classes whose attribute access is not inherited from another Qt class."""
    if not cls.__module__.startswith("PySide6"):
        return False
    own = {"__getattribute__", "__setattr__"} & set(cls.__dict__)
    return bool(own) or not any(base.__module__.startswith("PySide6") for base in cls.__mro__[1:])


def require_main_thread(what: str) -> None:
    """Raise RuntimeError off the main thread, where Slicer would crash sooner or later."""
    if threading.get_ident() != _main_thread:
        raise RuntimeError(f"{what} was touched off the main thread: Slicer crashes there")


def _called_by_host() -> bool:
    """True if the attribute access comes from the host or from Qt, False for module code."""
    try:
        caller = sys._getframe(2).f_globals.get("__name__", "")
    except ValueError:
        return True
    return caller.startswith(_PLAIN_CALLERS) and caller != _MODULE_SIDE


def _reader(raw: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    def read(self: Any, name: str) -> Any:
        if name.startswith("__") or _called_by_host():
            return raw(self, name)
        return _read(self, name, raw)

    return read


def _writer(raw: Callable[[Any, str, Any], None]) -> Callable[[Any, str, Any], None]:
    def write(self: Any, name: str, value: Any) -> None:
        if name.startswith("__") or _called_by_host():
            raw(self, name, value)
        else:
            _write(self, name, value, raw)

    return write


def _read(self: Any, name: str, raw: Callable[[Any, str], Any]) -> Any:
    cls = type(self)
    require_main_thread(f"{cls.__name__}.{name}")
    if _belongs_to_module(self, name, raw):
        return raw(self, name)
    is_object = isinstance(self, QtCore.QObject)
    if name == "name" and is_object:
        return self.objectName()
    listed = KEYWORD_NAMES.get(name, name)
    if listed not in allowed(cls):
        if is_object and name.encode() in [bytes(item) for item in self.dynamicPropertyNames()]:
            return outward(self.property(name))
        raise AttributeError(f"'{cls.__name__}' object has no attribute '{name}' in Slicer")
    special = _SPECIAL.get(listed) if is_object else None
    if special is not None:
        return types.MethodType(special, self)
    if isinstance(self, StandIn):
        if signals.has_signal(self, name):
            return signals.Signal(self, name)
        if not _offers(cls, name):
            raise NotOnHost(f"Slicer's {cls.__name__} has '{name}', the host's stand-in does not")
        if isinstance(inspect.getattr_static(cls, name, None), property):
            return outward(raw(self, name))
    if is_object and name in metadata.properties(cls):
        return _read_property(self, name)
    try:
        value = raw(self, name)
    except AttributeError:
        raise NotOnHost(f"Slicer's {cls.__name__} has '{name}', this version of Qt does not") from None
    if isinstance(value, QtCore.SignalInstance):
        return signals.Signal(self, name)
    return called_as_pythonqt(value, f"{cls.__name__}.{name}") if callable(value) else outward(value)


def _read_property(self: Any, name: str) -> Any:
    value = self.property(name)
    if isinstance(value, int) and metadata.properties(type(self))[name].is_enum:
        getter = getattr(type(self), name, None)
        return outward(getter(self)) if callable(getter) else value
    return outward(value)


def _write(self: Any, name: str, value: Any, raw: Callable[[Any, str, Any], None]) -> None:
    cls = type(self)
    require_main_thread(f"{cls.__name__}.{name}")
    listed = name in allowed(cls)
    if isinstance(self, StandIn) and isinstance(inspect.getattr_static(cls, name, None), property) and listed:
        raw(self, name, value)
        return
    if isinstance(self, QtCore.QObject):
        if name == "name":
            self.setObjectName(value)
            return
        declared = metadata.properties(cls).get(name) if listed and name not in _SPECIAL else None
        dynamic = name.encode() in [bytes(item) for item in self.dynamicPropertyNames()]
        if declared is not None or dynamic:
            _write_property(self, name, declared, value)
            return
    if listed:
        raise AttributeError(f"'{name}' of {cls.__name__} is a method or a signal and cannot be overwritten")
    if _is_python_class(cls):
        raw(self, name, value)
        return
    raise AttributeError(
        f"'{name}' does not exist on {cls.__name__} and creating new attributes on C++ objects is not allowed"
    )


def _write_property(
    self: QtCore.QObject, name: str, declared: metadata.QtProperty | None, value: Any
) -> None:
    """Set a property that the class declares, or with None a dynamic one."""
    cls = type(self).__name__
    if declared is not None and not declared.writable:
        raise AttributeError(f"property '{name}' of {cls} is not writable")
    if declared is not None and declared.type_name == "int" and type(value) is float:
        value = int(value)
    accepted = self.setProperty(name, inward(value))
    if declared is not None and not accepted:
        raise AttributeError(f"property '{name}' of {cls} does not accept {type(value).__name__} ({value!r})")


def _belongs_to_module(self: Any, name: str, raw: Callable[[Any, str], Any]) -> bool:
    """True for what a module's own subclass of a Qt class, or one of its objects, defines."""
    if not _is_python_class(type(self)):
        return False
    if name in raw(self, "__dict__"):
        return True
    return any(name in base.__dict__ for base in type(self).__mro__ if _is_python_class(base))


def _is_python_class(cls: type) -> bool:
    """True for a class that is neither Qt's nor a stand-in of the host."""
    return not cls.__module__.startswith(("PySide6", "Shiboken", "host.", "builtins"))


def _offers(cls: type, name: str) -> bool:
    """True when the stand-in class or a Qt class below it has the member."""
    return name in metadata.properties(cls) or any(name in base.__dict__ for base in cls.__mro__)


def called_as_pythonqt(method: Callable[..., Any], name: str) -> Callable[..., Any]:
    """``method`` without keyword arguments, integers for enumerations, on the main thread only."""

    def call(*arguments: Any, **keywords: Any) -> Any:
        if keywords:
            raise TypeError(f"{name}: PythonQt takes no keyword arguments ({', '.join(keywords)})")
        require_main_thread(name)
        return outward(method(*(inward(item) for item in arguments)))

    call.__name__ = call.__qualname__ = name
    return call


def _class_name(self: QtCore.QObject) -> str:
    return next(
        (base.__name__ for base in type(self).__mro__ if not _is_python_class(base)), type(self).__name__
    )


def _single_shot(self: Any, *arguments: Any) -> None:
    single_shot(*arguments)


def single_shot(milliseconds: int, slot: Callable[[], Any]) -> None:
    """``qt.QTimer.singleShot``: call ``slot`` once, later, from the event loop."""
    require_main_thread("QTimer.singleShot")
    QtCore.QTimer.singleShot(milliseconds, signals.relayed(slot))


def _find_child(self: QtCore.QObject, cls: Any, name: str = "") -> Any:
    found = _find_children(self, cls, name)
    return found[0] if found else None


def _find_children(self: QtCore.QObject, cls: Any, name: str = "") -> list[Any]:
    """Children of a class, given as a class or by its name, like PythonQt's two-argument forms."""
    children = self.findChildren(QtCore.QObject)
    wanted = inward(cls)
    return [
        child
        for child in children
        if (not name or child.objectName() == name)
        and (child.inherits(wanted) if isinstance(wanted, str) else isinstance(child, wanted))
    ]


_SPECIAL: dict[str, Callable[..., Any]] = {
    "connect": signals.connect,
    "disconnect": signals.disconnect,
    "className": _class_name,
    "singleShot": _single_shot,
    "findChild": _find_child,
    "findChildren": _find_children,
    "delete": shiboken6.delete,
}
"""Members that PythonQt adds or shows in a form of its own."""
