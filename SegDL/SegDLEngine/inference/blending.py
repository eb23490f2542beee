"""Blends overlapping windows into slices, holding no more of the volume than windows can still reach."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from SegDLEngine.inference.window_layout import WindowLayout

BLENDINGS = ("gaussian", "constant")

# Standard deviation of the Gaussian, as a part of the window's length: at the border 0.0003 of the centre.
_GAUSSIAN_WIDTH = 1 / 8


def axis_weights(starts: Sequence[int], length: int, blending: str) -> np.ndarray:
    """Weights (window, length), float32, of windows along one axis: at every voxel they add up to 1.

    Products of three axes' weights therefore add up to 1 in the volume, without a volume of their sums.
    """
    profile = np.ones(length)
    if blending == "gaussian":
        offset = (np.arange(length) - (length - 1) / 2) / (_GAUSSIAN_WIDTH * length)
        profile = np.exp(-0.5 * offset**2)
    total = np.zeros(max(starts) + length)
    for start in starts:
        total[start : start + length] += profile
    return np.stack([profile / total[start : start + length] for start in starts]).astype(np.float32)


class SlabBlender:
    """Adds windows in the order of their numbers and releases slices that no later window touches.

    ``layers``: the names of what is blended and how many layers (L, k, j, i) each has.  Held are as many
    slices as a window is long, in a ring: slice k lies at k modulo that length.  ``partial``: some windows
    will be left out; voxels that the others cover only in part then get the weighted mean of those.
    """

    def __init__(self, layout: WindowLayout, layers: Mapping[str, int], blending: str, partial: bool = False):
        self._layout = layout
        self._weights = [
            axis_weights(starts, length, blending)
            for starts, length in zip(layout.starts, layout.window, strict=True)
        ]
        self._depth = min(layout.window[0], layout.size[0])
        ring = (self._depth, *layout.size[1:])
        self._sums = {name: np.zeros((count, *ring), np.float32) for name, count in layers.items()}
        self._coverage = np.zeros(ring, np.float32) if partial else None
        self._released = 0

    @property
    def names(self) -> list[str]:
        return list(self._sums)

    @property
    def nbytes(self) -> int:
        """Bytes of all that is held."""
        coverage = 0 if self._coverage is None else self._coverage.nbytes
        return coverage + sum(array.nbytes for array in self._sums.values())

    def add(self, number: int, values: Mapping[str, np.ndarray]) -> None:
        """Add the window's values (L, k, j, i); slices before its first must have been released."""
        slices, rows, columns = self._layout.inside(number)
        if slices.start < self._released:
            raise ValueError(f"window {number} comes after its slices were released")
        along_k, along_j, along_i = (
            weights[place] for weights, place in zip(self._weights, self._layout.index(number), strict=True)
        )
        plane = np.outer(along_j, along_i)[: rows.stop - rows.start, : columns.stop - columns.start]
        for offset, k in enumerate(range(slices.start, slices.stop)):
            weight, place = along_k[offset] * plane, k % self._depth
            for name, sums in self._sums.items():
                part = values[name][:, offset, : plane.shape[0], : plane.shape[1]]
                sums[:, place, rows, columns] += weight * part
            if self._coverage is not None:
                self._coverage[place, rows, columns] += weight

    def release(self, stop: int) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """The finished slices before ``stop``, each with its number k and values (L, j, i).

        The arrays are lent: they are cleared when the next slice is asked for.
        """
        for k in range(self._released, stop):
            place = k % self._depth
            slices = {name: sums[:, place] for name, sums in self._sums.items()}
            if self._coverage is not None:
                coverage = self._coverage[place]
                for values in slices.values():
                    np.divide(values, coverage, out=values, where=coverage > 0)
                coverage[:] = 0
            yield k, slices
            for values in slices.values():
                values[:] = 0
            self._released = k + 1
