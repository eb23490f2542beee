"""The guardian of unfinished output: undoes a transaction whose process died, even by SIGKILL.

``outputs.py`` runs this file as a script in a session of its own and writes one JSON line to its standard
input *before* each change on disk.  Lines already in the pipe outlive their writer, so the end of the input
without a commit tells everything that may have happened.  Standard library only; it starts in milliseconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable

COMMIT = ["commit"]
DONE = b"done"


def undo(journal: Iterable[list]) -> None:
    """Undo the steps of a journal, the last one first; doing it twice does no harm."""
    undoing: dict[str, Callable[..., None]] = {
        "move": _undo_move,
        "staging": remove_tree,
        "folder": os.rmdir,
    }
    for action, *paths in reversed(list(journal)):
        with contextlib.suppress(OSError):
            undoing[action](*paths)


def _undo_move(staged: str, target: str, backup: str | None) -> None:
    """A moved file goes, the older one under its name returns; a file that was never moved is not ours."""
    if backup is not None:
        if os.path.lexists(backup):
            os.replace(backup, target)
    elif not os.path.lexists(staged):
        os.unlink(target)


def remove_tree(folder: str) -> None:
    """Remove a folder, also while a dying thread may still add a file to it."""
    for _ in range(50):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.lexists(folder):
            return
        time.sleep(0.02)


def main() -> None:
    """Read the journal to its end, then clean up after a commit or undo, and answer ``DONE``."""
    _leave_process_tree()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    journal, committed = [], False
    for line in sys.stdin:
        if line.endswith("\n"):
            step = json.loads(line)
            committed = committed or step == COMMIT
            journal.append(step)
    if committed:
        for action, *paths in journal:
            if action == "staging":
                remove_tree(*paths)
    else:
        undo(journal)
    with contextlib.suppress(OSError):
        os.write(1, DONE)


def _leave_process_tree() -> None:
    """Become a child of the system, so that whoever kills our parent with all its children spares us."""
    if hasattr(os, "fork") and os.fork():
        os._exit(0)


if __name__ == "__main__":
    main()
