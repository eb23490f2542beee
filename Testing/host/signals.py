"""Connections the way PythonQt makes them: ``button.connect("clicked(bool)", function)``.

A slot gets as many arguments as it takes, is kept alive by the connection, and an exception in it is printed
and recorded (:func:`host.warnings`), never propagated.  A signal that does not exist gives False and a
warning.
"""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Callable
from typing import Any

import shiboken6
from PySide6 import QtCore

from host import metadata
from host.strictness import NotOnHost, normalised, signals, warn
from host.values import outward

Slot = Callable[..., Any]

_connections: dict[int, list[tuple[str, Slot, Slot]]] = {}
"""Per C++ object: signal, slot of the module, function that Qt calls."""

raw_connect = QtCore.QObject.connect
raw_disconnect = QtCore.QObject.disconnect


def connect(sender: QtCore.QObject, signal: str, slot: Any, method: str = "") -> bool:
    """Connect a signal, given by its C++ signature, to a callable or to ``method`` of the object ``slot``."""
    signature = normalised(signal)
    if method:
        slot = getattr(slot, normalised(method).split("(")[0])
    if not callable(slot):
        raise TypeError(f"connect({signal!r}): the slot {slot!r} is not callable")
    own = _own_signal(sender, signature)
    if own:
        sender.signal_slots().setdefault(signature, []).append(slot)
        return True
    if signature not in metadata.signals(type(sender)):
        warn(f"{type(sender).__name__} '{sender.objectName()}' has no signal {signature}: not connected")
        return False
    relay = relayed(slot)
    if not raw_connect(sender, QtCore.SIGNAL(signature), relay):
        warn(f"{type(sender).__name__} '{sender.objectName()}': {signature} could not be connected")
        return False
    _remember(sender, signature, slot, relay)
    return True


def disconnect(sender: QtCore.QObject, signal: str, slot: Slot | None = None) -> bool:
    """Undo connections of a signal, all of them without ``slot``; False when there was none."""
    signature = normalised(signal)
    if _own_signal(sender, signature):
        slots = sender.signal_slots().get(signature, [])
        kept = [item for item in slots if slot is not None and item != slot]
        sender.signal_slots()[signature] = kept
        return len(kept) < len(slots)
    table = _connections.get(_address(sender), [])
    chosen = [item for item in table if item[0] == signature and (slot is None or item[1] == slot)]
    for item in chosen:
        raw_disconnect(sender, QtCore.SIGNAL(signature), item[2])
        table.remove(item)
    return bool(chosen)


def relayed(slot: Slot) -> Slot:
    """A function for Qt that calls ``slot`` as PythonQt would."""

    def relay(*arguments: Any) -> None:
        call_slot(slot, *arguments)

    return relay


def call_slot(slot: Slot, *arguments: Any) -> None:
    """Call a slot with as many of the arguments as it takes; print and record what it raises."""
    taken = accepted_arguments(slot)
    arguments = arguments if taken is None else arguments[:taken]
    try:
        slot(*(outward(argument) for argument in arguments))
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        warn(f"slot {getattr(slot, '__qualname__', slot)} raised {type(error).__name__}: {error}")


def accepted_arguments(slot: Slot) -> int | None:
    """How many arguments PythonQt passes at most to ``slot``; None for all.

    It looks at Python functions and bound methods only: any other callable, for example functools.partial,
    is handed every argument of the signal.
    """
    if not (inspect.isfunction(slot) or inspect.ismethod(slot)):
        return None
    code = slot.__code__
    if code.co_flags & inspect.CO_VARARGS:
        return None
    return code.co_argcount - int(inspect.ismethod(slot))


class Signal:
    """A signal as an attribute: ``button.clicked.connect(function)``."""

    def __init__(self, sender: QtCore.QObject, name: str) -> None:
        self._sender = sender
        self._signature = default_signature(sender, name)

    def connect(self, slot: Slot) -> bool:
        return connect(self._sender, self._signature, slot)

    def disconnect(self, slot: Slot | None = None) -> bool:
        return disconnect(self._sender, self._signature, slot)

    def emit(self, *arguments: Any) -> None:
        if _own_signal(self._sender, self._signature):
            self._sender.emit_signal(self._signature, *arguments)
        else:
            getattr(self._sender, self._signature.split("(")[0]).emit(*arguments)


def default_signature(sender: QtCore.QObject, name: str) -> str:
    """The signature that ``sender.name`` stands for: the overload declared first, with all its arguments."""
    own = [item for item in getattr(sender, "EMITS", ()) if item.split("(")[0] == name]
    if own:
        return own[0]
    for signature in metadata.signals(type(sender)):
        if signature.split("(")[0] == name:
            return signature
    raise AttributeError(f"{type(sender).__name__} has no signal {name}")


def has_signal(sender: QtCore.QObject, name: str) -> bool:
    """True if ``name`` is a signal that the stand-in emits itself."""
    return any(item.split("(")[0] == name for item in getattr(sender, "EMITS", ()))


def _own_signal(sender: QtCore.QObject, signature: str) -> bool:
    """True when a stand-in emits this signal from Python.

    Raises:
        NotOnHost: Slicer's widget has the signal but the stand-in never emits it.
    """
    emits = getattr(sender, "EMITS", None)
    if emits is None:
        return False
    if signature in emits:
        return True
    name = type(sender).__name__
    if signature in signals(name) and signature not in metadata.signals(type(sender)):
        raise NotOnHost(f"the host's {name} never emits {signature}")
    return False


def _remember(sender: QtCore.QObject, signature: str, slot: Slot, relay: Slot) -> None:
    address = _address(sender)
    if address not in _connections:
        _connections[address] = []
        raw_connect(sender, QtCore.SIGNAL("destroyed()"), lambda: _connections.pop(address, None))
    _connections[address].append((signature, slot, relay))


def _address(sender: QtCore.QObject) -> int:
    return shiboken6.getCppPointer(sender)[0]
