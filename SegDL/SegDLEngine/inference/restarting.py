"""Beginning again with smaller items, tiles or windows, when memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from SegDLEngine.protocol import Reporter

_Size = TypeVar("_Size")
_Result = TypeVar("_Result")

# Called when memory has run out; does not return if there is a smaller size to begin again with.
Shrink = Callable[[], None]


class _BeginAgain(Exception):
    """Ends an attempt, from deep inside of it, in favour of one with this size."""

    def __init__(self, size: Any):
        self.size = size


def begin_again_smaller(
    size: _Size,
    attempt: Callable[[_Size, Shrink], _Result],
    smaller: Callable[[_Size], _Size | None],
    named: Callable[[_Size], str],
    reporter: Reporter,
) -> _Result:
    """What ``attempt(size, shrink)`` returns; where it calls ``shrink``, it begins again with less.

    ``smaller`` gives the next size, or None if there is none: then ``shrink`` returns, and the attempt has to
    help itself.  ``named`` is a size in words, for the warning.  Nothing of an attempt that was given up is
    kept in memory.
    """
    while True:

        def shrink(size: _Size = size) -> None:
            less = smaller(size)
            if less is not None:
                reporter.warning("memory", f"Out of memory; beginning again with {named(less)}.")
                raise _BeginAgain(less)

        try:
            return attempt(size, shrink)
        except _BeginAgain as again:
            size = again.size


def sides(lengths: Sequence[int]) -> str:
    """Sides (k, j, i) or (j, i) in words, i first as users know them."""
    return " x ".join(str(length) for length in reversed(lengths))
