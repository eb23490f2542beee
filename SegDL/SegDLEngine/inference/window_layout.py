"""Where the windows lie that cover a volume."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class WindowLayout:
    """Windows of one size over a volume, all in (k, j, i); every combination of ``starts`` is a window.

    Windows are numbered with i running fastest and k slowest.  Where the volume is shorter than a window, the
    window begins with the volume and ends beyond it.
    """

    size: tuple[int, ...]
    window: tuple[int, ...]
    starts: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, size: Sequence[int], window: Sequence[int], overlap: float) -> WindowLayout:
        """As few windows as neighbours sharing at least the part ``overlap`` (0..1) of their length allow."""
        starts = tuple(
            place_windows(whole, length, overlap) for whole, length in zip(size, window, strict=True)
        )
        return cls(tuple(size), tuple(window), starts)

    def __len__(self) -> int:
        return math.prod(len(starts) for starts in self.starts)

    def index(self, number: int) -> tuple[int, ...]:
        """The window's place among the starts of each axis."""
        index = []
        for starts in reversed(self.starts):
            number, place = divmod(number, len(starts))
            index.append(place)
        return tuple(reversed(index))

    def start(self, number: int) -> tuple[int, ...]:
        return tuple(starts[place] for starts, place in zip(self.starts, self.index(number), strict=True))

    def inside(self, number: int) -> tuple[slice, ...]:
        """The part of the volume that the window covers."""
        return tuple(
            slice(start, min(start + length, whole))
            for start, length, whole in zip(self.start(number), self.window, self.size, strict=True)
        )


def count_windows(size: int, length: int, overlap: float) -> int:
    """How many windows of ``length`` cover ``size`` voxels if neighbours share the part ``overlap``."""
    return max(0, math.ceil((size - length) / _stride(length, overlap))) + 1


def place_windows(size: int, length: int, overlap: float) -> tuple[int, ...]:
    """First voxels of the fewest windows, spread evenly, so that what they share in excess is shared out."""
    gaps = count_windows(size, length, overlap) - 1
    return (0, *(round(number * (size - length) / gaps) for number in range(1, gaps + 1)))


def fit_length(size: int, lengths: Sequence[int], overlap: float) -> int:
    """The shortest of the ascending ``lengths`` that needs no more windows than the longest."""
    fewest = count_windows(size, lengths[-1], overlap)
    return next(length for length in lengths if count_windows(size, length, overlap) <= fewest)


def _stride(length: int, overlap: float) -> int:
    # Rounded first: 10 * (1 - 0.9) is 0.9999999999999998.
    return max(1, math.floor(round(length * (1 - overlap), 6)))
