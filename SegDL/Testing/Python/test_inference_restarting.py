"""Beginning again with less when memory runs out: sizes, warnings and what stays in memory."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
from SegDLEngine.inference.restarting import begin_again_smaller, sides
from SegDLEngine.protocol import Reporter


def halved(size):
    return size // 2 if size > 8 else None


def begin(attempt, reporter=None, size=64):
    return begin_again_smaller(size, attempt, halved, lambda size: f"cubes of {size}", reporter or Reporter())


def test_without_need_the_first_size_stays():
    reporter = Reporter()
    assert begin(lambda size, shrink: ("done", size), reporter) == ("done", 64)
    assert not reporter.warnings


def test_it_begins_again_until_an_attempt_fits():
    reporter = Reporter()

    def attempt(size, shrink):
        if size > 16:
            shrink()
        return size

    assert begin(attempt, reporter) == 16
    assert [warning["code"] for warning in reporter.warnings] == ["memory", "memory"]
    assert [warning["text"].rpartition(" with ")[2] for warning in reporter.warnings] == [
        "cubes of 32.",
        "cubes of 16.",
    ]


def test_at_the_smallest_size_the_attempt_helps_itself():
    def attempt(size, shrink):
        shrink()
        return f"{size} on the CPU"

    assert begin(attempt) == "8 on the CPU"


def test_other_errors_end_it():
    def attempt(size, shrink):
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        begin(attempt)


def test_nothing_of_an_attempt_given_up_stays_in_memory():
    """As where an executor calls ``shrink``: while it handles the lack of memory."""
    earlier: list[weakref.ref] = []

    def attempt(size, shrink):
        assert all(reference() is None for reference in earlier)
        features = np.zeros(size)
        earlier.append(weakref.ref(features))
        try:
            raise MemoryError
        except MemoryError:
            shrink()
        return len(earlier)

    assert begin(attempt) == 4


def test_sides_are_told_with_i_first():
    assert sides((16, 24, 32)) == "32 x 24 x 16"
