"""Claims on cases in a shared folder, so that several processes or machines share one batch.

Whoever creates the file ``<case>.<n>`` first owns the case; while it works, a thread renews the file's time.
A claim is dead when its process no longer runs on this computer, or when nobody renewed it for
``STALE_S``.  A dead claim ``<n>`` is taken over by creating ``<n + 1>``, which again only one can do; nothing
is ever renamed or deleted in between, so there is no moment in which two own a case.  Times are those of the
file system that holds the folder, so the clocks of the machines need not agree.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

STALE_S = 60.0
BEAT_S = 10.0
_CLOCK = "clock-"


class Claims:
    """Claims in ``folder``, which is created."""

    def __init__(self, folder: Path, *, stale_s: float = STALE_S, beat_s: float = BEAT_S):
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._stale_s = stale_s
        self._beat_s = beat_s
        self._clock = folder / f"{_CLOCK}{socket.gethostname()}-{os.getpid()}"
        self._clock.write_text(_owner(), encoding="utf-8")

    def now(self) -> float:
        """The file system's time in seconds."""
        self._clock.touch()
        return self._clock.stat().st_mtime

    @contextlib.contextmanager
    def claim(self, case: str) -> Iterator[bool]:
        """True within the block if the case is ours; it is free again afterwards."""
        path = self._take(case)
        if path is None:
            yield False
            return
        stop = threading.Event()
        beat = threading.Thread(target=self._renew, args=(path, stop), daemon=True)
        beat.start()
        try:
            yield True
        finally:
            stop.set()
            beat.join()
            for number in self._numbers(case):
                if number <= _number(path):
                    self._path(case, number).unlink(missing_ok=True)

    def close(self) -> None:
        """Remove what is ours and the clocks of the dead; the folder too if nobody else uses it."""
        for clock in self._folder.glob(f"{_CLOCK}*"):
            if clock != self._clock and self._is_dead(clock):
                clock.unlink(missing_ok=True)
        self._clock.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._folder.rmdir()

    def _take(self, case: str) -> Path | None:
        latest = max(self._numbers(case), default=0)
        if latest and not self._is_dead(self._path(case, latest)):
            return None
        path = self._path(case, latest + 1)
        try:
            with path.open("x", encoding="utf-8") as stream:
                stream.write(_owner())
        except FileExistsError:
            return None
        return path

    def _is_dead(self, path: Path) -> bool:
        try:
            age = self.now() - path.stat().st_mtime
            owner = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return False
        except ValueError:
            return age > self._stale_s
        if owner.get("machine") == _machine() and not _is_running(owner.get("pid")):
            return True
        return age > self._stale_s

    def _renew(self, path: Path, stop: threading.Event) -> None:
        while not stop.wait(self._beat_s):
            with contextlib.suppress(OSError):
                os.utime(path)

    def _path(self, case: str, number: int) -> Path:
        return self._folder / f"{case}.{number}"

    def _numbers(self, case: str) -> list[int]:
        pattern = re.compile(re.escape(case) + r"\.(\d+)")
        matches = (pattern.fullmatch(entry.name) for entry in os.scandir(self._folder))
        return [int(match.group(1)) for match in matches if match]


def _owner() -> str:
    return json.dumps({"machine": _machine(), "pid": os.getpid()})


def _number(path: Path) -> int:
    return int(path.suffix[1:])


def _machine() -> str:
    """This computer, and within it the space in which process ids count (containers have their own)."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return f"{socket.gethostname()} {space}"


def _is_running(pid: object) -> bool:
    """True also where it cannot be asked without harm; the age of the claim decides then."""
    if os.name != "posix" or not isinstance(pid, int):
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
