"""Qt's own description of its classes: properties, signals and slots, read once before objects exist.

Shiboken hands out one wrapper for a class's meta object and takes it back with any object that was asked
for it; so nothing else in the host asks objects for theirs.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from PySide6 import QtCore


@dataclass(frozen=True)
class QtProperty:
    """A property of a Qt class."""

    type_name: str
    writable: bool
    is_enum: bool


@dataclass(frozen=True)
class QtMetadata:
    """What one Qt class declares itself, without its bases; signatures are normalised."""

    properties: dict[str, QtProperty]
    signals: tuple[str, ...]
    slots: frozenset[str]


_classes: dict[type, QtMetadata] = {}


def collect(classes: list[type]) -> None:
    """Read the descriptions of Qt classes."""
    kinds = QtCore.QMetaMethod.MethodType
    for cls in classes:
        if not issubclass(cls, QtCore.QObject) or cls in _classes:
            continue
        meta = cls.staticMetaObject
        methods = [meta.method(index) for index in range(meta.methodOffset(), meta.methodCount())]
        signatures = [(method.methodType(), bytes(method.methodSignature()).decode()) for method in methods]
        found = [meta.property(index) for index in range(meta.propertyOffset(), meta.propertyCount())]
        _classes[cls] = QtMetadata(
            {
                item.name(): QtProperty(item.typeName(), item.isWritable(), item.isEnumType())
                for item in found
            },
            tuple(signature for kind, signature in signatures if kind == kinds.Signal),
            frozenset(signature for kind, signature in signatures if kind == kinds.Slot),
        )


@functools.cache
def properties(cls: type) -> dict[str, QtProperty]:
    """Qt's properties of a class, its bases included."""
    merged: dict[str, QtProperty] = {}
    for base in reversed(cls.__mro__):
        if base in _classes:
            merged.update(_classes[base].properties)
    return merged


@functools.cache
def signals(cls: type) -> tuple[str, ...]:
    """Signatures of Qt's signals of a class, its own before those of its bases."""
    return tuple(item for base in cls.__mro__ if base in _classes for item in _classes[base].signals)


@functools.cache
def slots(cls: type) -> frozenset[str]:
    """Signatures of Qt's slots of a class, its bases included."""
    return frozenset(item for base in cls.__mro__ if base in _classes for item in _classes[base].slots)
