"""Keeps None, True and False alive under PySide6 6.12 on Python 3.10 and 3.11.

PySide6 6.12.0 returns these objects without counting the reference, which is right from Python 3.12 on,
where they are immortal.  Before, every call that returns None takes one reference away, until the
interpreter aborts with "none_dealloc" after some ten thousand calls.  PySide6 6.11 counts correctly.
"""

from __future__ import annotations

import ctypes
import sys

RESERVE = 1 << 40
"""References that no session uses up."""


def protect(qt_version: tuple[int, ...]) -> bool:
    """Give the singletons a reserve of references where this Qt for Python needs it; True if so."""
    needed = sys.implementation.name == "cpython" and sys.version_info < (3, 12) and qt_version[:2] >= (6, 12)
    if needed:
        for singleton in (None, True, False):
            ctypes.c_ssize_t.from_address(id(singleton)).value += RESERVE
    return needed
