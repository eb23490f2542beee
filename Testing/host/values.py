"""Values on their way between module code and PySide6: enumerations and classes.

PySide6 has Python enumerations, which neither print nor compare as integers and refuse plain ones, where
PythonQt has integers.  An :class:`EnumValue` is an integer for module code that remembers PySide6's value
for the way back into Qt.
"""

from __future__ import annotations

import enum
from typing import Any


class EnumValue(int):
    """An integer that prints as one; ``native`` is the PySide6 value that it stands for."""

    native: enum.Enum

    def __new__(cls, native: enum.Enum) -> EnumValue:
        value = super().__new__(cls, native.value)
        value.native = native
        return value

    def _combined(self, number: int) -> int:
        """``number`` as a value of the same flags; a plain integer when these are no flags."""
        return EnumValue(type(self.native)(number)) if isinstance(self.native, enum.Flag) else number

    def __or__(self, other: int) -> int:
        return self._combined(int(self) | int(other))

    def __and__(self, other: int) -> int:
        return self._combined(int(self) & int(other))

    __ror__, __rand__ = __or__, __and__


class Face:
    """What module code holds instead of a class; ``host_class`` is the class itself."""

    host_class: type


class EnumType:
    """An enumeration type, e.g. ``qt.Qt.Alignment``: turns an integer into one of its values."""

    def __init__(self, native: type[enum.Enum]) -> None:
        self._native = native

    def __call__(self, number: int) -> EnumValue:
        return EnumValue(self._native(int(number)))


def outward(value: Any) -> Any:
    """``value`` as module code gets to see it: enumerations become integers, also inside lists and tuples."""
    if isinstance(value, enum.Enum):
        return EnumValue(value) if isinstance(value.value, int) else value
    if type(value) in (list, tuple):
        return type(value)(outward(item) for item in value)
    return value


def inward(value: Any) -> Any:
    """``value`` from module code as PySide6 takes it."""
    if isinstance(value, EnumValue):
        return value.native
    if isinstance(value, Face):
        return value.host_class
    if type(value) in (list, tuple):
        return type(value)(inward(item) for item in value)
    return value
