"""What exists in a running 3D Slicer: the lists that the host refuses everything else by.

``facts/pythonqt.json`` holds, per class, the members that PythonQt shows at run time in Slicer 5.12.3;
``facts/widgets.json`` the argument lists, property types and signals of the C++ headers.  Both are cut from
longer lists by ``cut_facts.py``.  A Qt class lists only what its base classes do not list already.
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "facts"

KEYWORD_NAMES = {"exec_": "exec", "raise_": "raise", "print_": "print"}
"""PythonQt finds members named like a Python keyword also with an underscore behind."""

DECORATED = {"qSlicerApplication": frozenset({"testingEnabled"})}
"""Members that PythonQt decorators add, which no header declares; slicer.util of the wheel uses them."""

_messages: list[str] = []


class NotOnHost(AttributeError):
    """A member that Slicer has but that the host's stand-in does not offer yet."""


def warn(message: str) -> None:
    """Record, and print, what PythonQt would only print; see :func:`warnings`."""
    _messages.append(message)
    print(f"host: {message}", flush=True)


def warnings() -> list[str]:
    """What PythonQt would only have printed since :func:`clear_warnings`: connections to signals that do
    not exist and exceptions that ended in a slot."""
    return list(_messages)


def clear_warnings() -> None:
    """Forget the warnings recorded so far."""
    _messages.clear()


@functools.cache
def _members() -> dict[str, dict[str, list[str]]]:
    return json.loads((FOLDER / "pythonqt.json").read_text(encoding="utf-8"))


@functools.cache
def _headers() -> dict[str, dict[str, Any]]:
    return json.loads((FOLDER / "widgets.json").read_text(encoding="utf-8"))


def namespace_of(name: str) -> str:
    """The namespace ("qt", "ctk", "slicer") in which Slicer has the class ``name``; '' if it has none."""
    return next((space for space, classes in _members().items() if name in classes), "")


@functools.cache
def members(name: str) -> frozenset[str]:
    """Members listed for the class ``name`` itself, by the running application or else by its headers."""
    space = namespace_of(name)
    if space:
        return frozenset(_members()[space][name])
    found = set(DECORATED.get(name, ()))
    for header in _header_chain(name):
        found.update(header["methods"], header["properties"], header["signals"])
    return frozenset(found)


@functools.cache
def allowed(cls: type) -> frozenset[str]:
    """Members that module code may use on an instance of ``cls``, a Qt class or a stand-in."""
    found: set[str] = set()
    for base in cls.__mro__:
        found |= members(base.__name__)
    return frozenset(found)


def _header_chain(name: str) -> list[dict[str, Any]]:
    """The header records of a class and of its listed bases."""
    record = _headers().get(name)
    if record is None:
        return []
    return [record, *(item for base in record["bases"] for item in _header_chain(base))]


@functools.cache
def property_types(name: str) -> dict[str, str]:
    """C++ type per property that the headers declare for the class or its listed bases."""
    types: dict[str, str] = {}
    for header in reversed(_header_chain(name)):
        types.update(header["properties"])
    return types


@functools.cache
def signals(name: str) -> frozenset[str]:
    """Normalised signatures, e.g. ``valueChanged(double)``, of the signals that the headers declare."""
    return frozenset(
        normalised(f"{signal}({arguments})")
        for header in _header_chain(name)
        for signal, overloads in header["signals"].items()
        for arguments in overloads
    )


def methods(name: str) -> dict[str, list[str]]:
    """Argument lists per method that the headers declare for the class or its listed bases."""
    found: dict[str, list[str]] = {}
    for header in _header_chain(name):
        for method, overloads in header["methods"].items():
            found.setdefault(method, []).extend(overloads)
    return found


def normalised(signature: str) -> str:
    """Qt's short form of a signature: no argument names, no ``const``, no reference signs on values."""
    match = re.fullmatch(r"\s*(\w+)\s*\((.*)\)\s*", signature)
    if match is None:
        return signature.strip()
    arguments = [_normalised_type(part) for part in match[2].split(",") if part.strip()]
    return f"{match[1]}({','.join(arguments)})"


def _normalised_type(text: str) -> str:
    text = re.sub(r"\bconst\b", "", text).replace("&", " ").strip()
    text = re.sub(r"\s*\*\s*", "* ", text).strip()
    words = text.split()
    if words[0] == "unsigned" and len(words) > 1:
        return "uint" if words[1] == "int" else f"u{words[1]}"
    return words[0]
