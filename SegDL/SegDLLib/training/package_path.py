"""Where the package SegDLTrainingLib lies, and where a training keeps what, for the Slicer side."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from SegDLEngine.errors import SegDLError

_PACKAGE = "SegDLTrainingLib"
_MODULE_FOLDER = Path(__file__).resolve().parents[2]


def trainingFolder() -> Path:
    """The folder with the package; raises SegDLError where the training module is not installed.

    An installed extension has all packages in one folder, a source tree has a folder for each module.
    """
    for folder in (_MODULE_FOLDER, _MODULE_FOLDER.parent / "SegDLTraining"):
        if (folder / _PACKAGE).is_dir():
            return folder
    found = importlib.util.find_spec(_PACKAGE)
    if found is not None and found.origin:
        return Path(found.origin).parents[1]
    raise SegDLError(
        "The module SegDLTraining is not installed.", hint="Install the whole extension.", code="dependency"
    )


def makeImportable() -> None:
    """Let this process import the package, also where Slicer does not know the training module's folder."""
    folder = str(trainingFolder())
    if folder not in sys.path:
        sys.path.append(folder)


def workingFolder(output: Path) -> Path:
    """Where the training of the package ``output`` keeps checkpoint and curve."""
    makeImportable()
    from SegDLTrainingLib.places import working_folder

    return working_folder(output)


def hasCheckpoint(output: Path) -> bool:
    """True if a training into ``output`` was begun and goes on when it is started again."""
    makeImportable()
    from SegDLTrainingLib.places import CHECKPOINT_FILE

    return (workingFolder(output) / CHECKPOINT_FILE).is_file()
