"""The folder of prepared cases: what is removed from it.

``CACHE/card/case`` holds a case as a card prepares it, see ``volumes``; the names follow from the contents of
card and case.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path

from SegDLEngine.output_guardian import remove_tree

from SegDLTrainingLib.volumes import FACTS_FILE, PARTIAL

# A folder that nobody has written to for so long belongs to a process that was killed.
ABANDONED_SECONDS = 600.0
# Times of files may be as coarse as this.
CLOCK_SECONDS = 5.0
# Where the reports of checks are, beside the cases.
CHECKED = "checked"


def mark_used(path: Path) -> None:
    """Remember that a training has used a case, or the report of a check, now."""
    with contextlib.suppress(OSError):
        os.utime(path / FACTS_FILE if path.is_dir() else path, (time.time(), time.time()))


def remove_abandoned(folder: Path) -> None:
    """Remove what processes that were killed have half written into ``folder``."""
    for partial in folder.glob(f"*{PARTIAL}"):
        if time.time() - _newest(partial) > ABANDONED_SECONDS:
            shutil.rmtree(partial, ignore_errors=True)


def remove_unfinished(folder: Path) -> None:
    """Remove what this process is just writing into ``folder``; for one that is about to end."""
    for partial in folder.glob(f"*.{os.getpid()}{PARTIAL}"):
        remove_tree(str(partial))


def remove_unused(cache: Path, since: float) -> None:
    """Remove what is below ``cache`` and was not marked as used from the time ``since`` (s) on."""
    for path in [*cache.glob(f"*/*/{FACTS_FILE}"), *cache.glob(f"{CHECKED}/*.json")]:
        if path.stat().st_mtime < since - CLOCK_SECONDS:
            if path.name == FACTS_FILE:
                shutil.rmtree(path.parent, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
    for folder in [path for path in cache.glob("*") if path.is_dir()]:
        remove_abandoned(folder)
        with contextlib.suppress(OSError):
            folder.rmdir()


def _newest(folder: Path) -> float:
    """The time (s) of the last change of a folder or of a file in it."""
    times = [0.0]
    with contextlib.suppress(OSError):
        times += [path.stat().st_mtime for path in (folder, *folder.iterdir())]
    return max(times)
