"""Ending a process with everything it started.

``PythonSlicer`` is a launcher that starts the real Python, so that killing the process which Qt knows leaves
the one that computes alive.  psutil is no part of Slicer; the system's own means are enough.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path


def killTree(pid: int) -> None:
    """Kill the process and all its descendants at once; a process that is gone already is no error."""
    if pid <= 0:
        return
    if sys.platform == "win32":
        _run(["taskkill", "/PID", str(pid), "/T", "/F"])
        return
    # Children first: once the parent has gone they are somebody else's and cannot be found any more.
    for member in [*reversed(descendants(pid)), pid]:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(member, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """Children, their children and so on of a process, parents before children (POSIX)."""
    children: dict[int, list[int]] = {}
    for child, parent in _parents().items():
        children.setdefault(parent, []).append(child)
    found = list(children.get(pid, ()))
    for member in found:
        found.extend(children.get(member, ()))
    return found


def _parents() -> dict[int, int]:
    """The parent of each process of this computer."""
    proc = Path("/proc")
    if (proc / "self" / "stat").exists():
        return _parentsFromProc(proc)
    listing = _run(["ps", "-A", "-o", "pid=,ppid="])
    pairs = (line.split() for line in listing.splitlines())
    return {int(pair[0]): int(pair[1]) for pair in pairs if len(pair) == 2}


def _parentsFromProc(proc: Path) -> dict[int, int]:
    found = {}
    for entry in proc.iterdir():
        if entry.name.isdigit():
            # The process may end while it is looked at.
            with contextlib.suppress(OSError, IndexError, ValueError):
                # The name in parentheses may hold spaces; the state and the parent follow its last one.
                found[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    return found


def _run(command: list[str]) -> str:
    flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)
    done = subprocess.run(command, capture_output=True, text=True, check=False, creationflags=flags)
    return done.stdout
