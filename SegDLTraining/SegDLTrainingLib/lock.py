"""One training at a time in a folder, whichever program or computer starts it."""

from __future__ import annotations

import contextlib
import errno
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from SegDLEngine.errors import SegDLError

LOCK_FILE = "lock"
_HELD_BY_ANOTHER = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for this process; the system frees it however the process ends.

    A folder that is still empty in the end is removed.  Raises SegDLError if another process holds it.  Where
    a file system knows no locks nothing is held.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK_FILE, "ab") as stream:
        try:
            _lock(stream)
        except OSError as error:
            if error.errno in _HELD_BY_ANOTHER:
                raise SegDLError(
                    f"Another training is running in {folder}.",
                    hint="Wait for its end or stop it, or choose another output.",
                    code="busy",
                ) from error
        try:
            yield
        finally:
            if [path.name for path in folder.iterdir()] == [LOCK_FILE]:
                # Nothing came of it.  Windows removes no open file.
                with contextlib.suppress(OSError):
                    (folder / LOCK_FILE).unlink()
                    folder.rmdir()


def _lock(stream: IO[bytes]) -> None:
    """Children do not inherit the lock, so that one that outlives its parent does not hold it."""
    if sys.platform == "win32":
        import msvcrt

        stream.seek(0)
        msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
