"""Cuts the full lists of what PythonQt shows in Slicer down to what this project can meet.

    python Testing/host/cut_facts.py [--output FOLDER] pythonqt_api.json widget_api.json

Kept are, with all their members: every class of Qt Core, Gui and Widgets that a panel can be handed without
naming it (graphics scenes, style options, documents and the like are left out), every class that the module
or its ``.ui`` files name, and every ctk, qMRML and qSlicer class that the host offers or the module names,
with the base classes that the headers list.  Writes ``pythonqt.json`` and ``widgets.json`` into ``facts/``
or the given folder.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SOURCES = (
    "SegDL/*.py",
    "SegDL/SegDLLib/**/*.py",
    "SegDL/Resources/UI/*.ui",
    "SegDLTraining/*.py",
    "Testing/*.py",
)
RARE = re.compile(
    r"Q(Graphics|StyleOption|OpenGL|Abstract(Audio|Network|Print|Socket)|Network|Ssl|Tcp|Udp|Local(Server|Socket)|Text(?!Edit|Cursor"
    r"|Browser)|Picture|Paint(?!er$)|Page|Mdi|Undo|Style(?!$)|Gesture|Pan|Pinch|Swipe|Tap|Tablet|Touch|Vector|Matrix|Quaternion|Xml"
    r"|Sequential|Parallel|Animation|Variant|Property|Pause|Accessible|Proxy|Inputs|Http|Dns|Host|Raw|Glyph|State|Abstract(State|Tr))"
)
LONG = {"QLocale", "QStyle", "QWindow", "QTextFormat", "QEasingCurve", "QGradient"}
"""Classes of long lists that are kept only when a source names them."""


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description="Cut the facts about Slicer's classes to this project.")
    parser.add_argument("pythonqt", type=Path, help="members that PythonQt shows: pythonqt_api.json")
    parser.add_argument("widgets", type=Path, help="what the headers declare: widget_api.json")
    parser.add_argument("--output", type=Path, default=HERE / "facts")
    arguments = parser.parse_args(words)
    full = json.loads(arguments.pythonqt.read_text(encoding="utf-8"))
    headers = json.loads(arguments.widgets.read_text(encoding="utf-8"))
    named = _named_classes()
    own = {name for name in _class_chain(headers, named | _stand_ins()) if name[0] in "cq"}
    cut = {"qt": _cut_qt(full["qt"], named)}
    for space in ("ctk", "slicer"):
        cut[space] = {name: full[space][name]["members"] for name in sorted(own & set(full[space]))}
    kept_headers = {name: _trimmed(headers[name]) for name in sorted(own & set(headers))}
    for name, data in (("pythonqt.json", cut), ("widgets.json", kept_headers)):
        path = arguments.output / name
        path.write_text(_one_line_per_class(data), encoding="utf-8")
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def _named_classes() -> set[str]:
    """Words in the project's sources that look like a Qt, ctk, qMRML or qSlicer class."""
    text = " ".join(
        path.read_text(encoding="utf-8") for pattern in SOURCES for path in sorted(ROOT.glob(pattern))
    )
    return set(re.findall(r"\b(?:Q[A-Z]\w+|ctk[A-Z]\w+|qMRML\w+|qSlicer\w+)\b", text))


def _stand_ins() -> set[str]:
    """Classes of Slicer that the host's own sources define or name."""
    text = " ".join(path.read_text(encoding="utf-8") for path in sorted(HERE.rglob("*.py")))
    return set(re.findall(r"\b(?:ctk|qMRML|qSlicer)[A-Z]\w+", text))


def _class_chain(headers: dict, names: set[str]) -> set[str]:
    """The names and all base classes that the headers list for them."""
    found: set[str] = set()
    waiting = set(names)
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting |= set(headers.get(name, {}).get("bases", ())) - found
    return found


def _cut_qt(full: dict[str, list[str]], named: set[str]) -> dict[str, list[str]]:
    """Qt classes to keep; each without the members that its base classes list."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    classes = {"QUiLoader": importlib.import_module("PySide6.QtUiTools").QUiLoader}
    for module in ("QtTest", "QtGui", "QtWidgets", "QtCore"):
        qt = importlib.import_module(f"PySide6.{module}")
        classes.update({name: getattr(qt, name) for name in dir(qt) if name.startswith("Q")})
    kept = {
        name for name in set(full) & set(classes) if name in named or not (RARE.match(name) or name in LONG)
    }
    for name in sorted(kept):
        kept |= {base.__name__ for base in classes[name].__mro__ if base.__name__ in full}
    result = {}
    for name in sorted(kept):
        inherited = {member for base in classes[name].__mro__[1:] for member in full.get(base.__name__, ())}
        result[name] = sorted(set(full[name]) - inherited)
    return result


def _trimmed(record: dict) -> dict:
    return {key: record[key] for key in ("bases", "methods", "properties", "signals")}


def _one_line_per_class(data: dict) -> str:
    """JSON with one line per innermost class, so that a later cut shows a readable difference."""

    def lines(table: dict) -> str:
        return ",\n".join(
            f"{json.dumps(name)}: {json.dumps(value, separators=(',', ':'))}" for name, value in table.items()
        )

    if set(data) == {"qt", "ctk", "slicer"}:
        return "{\n" + ",\n".join(f'"{key}": {{\n{lines(value)}\n}}' for key, value in data.items()) + "\n}\n"
    return "{\n" + lines(data) + "\n}\n"


if __name__ == "__main__":
    main(sys.argv[1:])
