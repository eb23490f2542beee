"""The engine stands alone: what it imports, when, and what no file of it may import."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import SegDLEngine

ENGINE = Path(SegDLEngine.__file__).parent
FORBIDDEN = {"slicer", "qt", "ctk", "vtk", "PySide6", "SegDLLib", "SegDLTrainingLib", "pickle", "scipy"}
HEAVY = {"torch", "numpy", "SimpleITK", "slicer", "qt", "vtk", "jsonschema", "pydicom", "cc3d", "edt"}
FILES = sorted(ENGINE.rglob("*.py"))


def imported(tree):
    """Top-level names of all modules that a file imports, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name.split(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ENGINE).as_posix())
def test_no_file_imports_what_the_engine_must_not_know(path):
    assert not FORBIDDEN & set(imported(ast.parse(path.read_text(encoding="utf-8"))))


def test_no_file_loads_pickled_weights():
    """PyTorch's restricted reader, which knows numbers only, is the one exception, in the one file for it."""
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        calls = re.findall(r"(?<!safetensors\.)torch\.load\([^\n]*", text)
        if path.relative_to(ENGINE).as_posix() == "models/importers/states.py":
            assert all("weights_only=True" in call for call in calls)
        else:
            assert not calls, path


@pytest.mark.parametrize(
    "code",
    [
        "import SegDLEngine",
        "from SegDLEngine.protocol import Reporter; from SegDLEngine.errors import InputError",
        "from SegDLEngine.command_line.main import build_parser; build_parser()",
    ],
)
def test_heavy_packages_are_not_loaded_before_they_are_needed(code):
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sorted({HEAVY!r} & set(sys.modules)))"],
        env={**os.environ, "PYTHONPATH": str(ENGINE.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == ""


def test_every_public_name_is_there():
    for name in SegDLEngine.__all__:
        assert getattr(SegDLEngine, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = SegDLEngine.nothing
