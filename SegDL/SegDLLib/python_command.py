"""Which Python runs the engine and the training, and where it finds the packages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import slicer
from SegDLEngine.errors import SegDLError

MODULE_FOLDER = Path(__file__).resolve().parents[1]

# Another Python that has torch may be named here; by default it is Slicer's own.
PYTHON_VARIABLE = "SEGDL_PYTHON"


def pythonCommand() -> list[str]:
    """The Python to run the engine with; raises SegDLError where there is none.

    ``sys.executable`` is not asked: inside Slicer it may be empty or the application itself.
    """
    chosen = os.environ.get(PYTHON_VARIABLE) or _pythonOfSlicer()
    if not chosen:
        raise SegDLError(
            "Slicer's Python (PythonSlicer) was not found.",
            hint=f"Start Slicer by its launcher, or name a Python with torch in {PYTHON_VARIABLE}.",
            code="no_python",
        )
    return [chosen]


def _pythonOfSlicer() -> str | None:
    """On the PATH, which the launcher has set, else in the folder of the application's programs."""
    programs = os.path.join(slicer.app.slicerHome, "bin")
    return shutil.which("PythonSlicer") or shutil.which("PythonSlicer", path=programs)


def isSlicersOwn() -> bool:
    """True if the child is Slicer's Python; another one must not see Slicer's libraries."""
    return not os.environ.get(PYTHON_VARIABLE)


def pythonVariables(folders: Iterable[Path], inherited: str) -> dict[str, str]:
    """Environment variables of a child that finds the packages in ``folders`` and prints lines at once.

    ``inherited``: the PYTHONPATH that it would have had.
    """
    path = [*map(str, folders), inherited]
    return {
        "PYTHONPATH": os.pathsep.join(folder for folder in path if folder),
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
    }
