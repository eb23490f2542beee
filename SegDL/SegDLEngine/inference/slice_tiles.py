"""Where the tiles lie in which a 2D network examines a slice: one for the whole slice, or several.

A network that pads its convolutions sees the borders of a tile as borders of the image, so it always gets the
whole slice.  What an unpadded network answers depends on the pixels alone: its tiles, begun at multiples of
what it divides by, give what the whole slice gives (the overlap-tile strategy of Ronneberger et al. 2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from SegDLEngine.errors import ModelError
from SegDLEngine.inference.borders import allowed_sides, side_for
from SegDLEngine.networks.network import Network


@dataclass(frozen=True)
class SliceTiles:
    """Tiles over a slice of ``shape``, all in (j, i); every combination of ``starts`` is a tile.

    ``patch`` is what the network sees of a tile, ``margin`` what it loses of that on each side.  Items are
    tiles of slices: item n is tile n % count of slice n // count.
    """

    shape: tuple[int, ...]
    patch: tuple[int, ...]
    margin: int
    starts: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, network: Network, shape: Sequence[int], largest: Sequence[int] | None = None) -> SliceTiles:
        """The fewest tiles of which the network sees ``largest`` (j, i) at most; whole slices without it.

        Raises ModelError if the network cannot take tiles, or not of this size.
        """
        patch = [side_for(network, length) for length in shape]
        if largest is not None:
            patch = [_side(network, limit, side) for limit, side in zip(largest, patch, strict=True)]
        answered = [side - 2 * network.margin for side in patch]
        starts = []
        for length, side in zip(shape, answered, strict=True):
            stride = max(side // network.divisible_by * network.divisible_by, 1)
            starts.append((0, *(range(stride, length - side + stride, stride))))
        return cls(tuple(shape), tuple(patch), network.margin, tuple(starts))

    @property
    def count(self) -> int:
        """Tiles of one slice."""
        return len(self.starts[0]) * len(self.starts[1])

    def start(self, tile: int) -> tuple[int, int]:
        """First row and column of what the tile's input shows; may be negative."""
        row, column = self._corner(tile)
        return row - self.margin, column - self.margin

    def place(self, tile: int) -> tuple[slice, slice]:
        """Rows and columns of the slice that the tile answers."""
        sides = [side - 2 * self.margin for side in self.patch]
        rows, columns = (
            slice(first, min(first + side, length))
            for first, side, length in zip(self._corner(tile), sides, self.shape, strict=True)
        )
        return rows, columns

    def smaller(self, network: Network) -> SliceTiles | None:
        """Tiles of about half the side; None if the network takes none."""
        if network.margin == 0:
            return None
        sides = [max(allowed_sides(network, side // 2), default=side) for side in self.patch]
        return SliceTiles.of(network, self.shape, sides) if tuple(sides) != self.patch else None

    def _corner(self, tile: int) -> tuple[int, int]:
        row, column = divmod(tile, len(self.starts[1]))
        return self.starts[0][row], self.starts[1][column]


def _side(network: Network, limit: int, whole: int) -> int:
    """The side of a tile's input: that of the ``whole`` slice if it is within the limit."""
    if whole <= limit:
        return whole
    if network.margin == 0:
        raise ModelError(
            f"The model card's inference.patch of {limit} would cut slices for a network that pads them.",
            hint="Leave 'patch' out in mode 'slices'; only unpadded networks take tiles.",
        )
    if limit not in allowed_sides(network, limit):
        remainder = f" plus {network.remainder}" if network.remainder else ""
        raise ModelError(
            f"The model card's inference.patch of {limit} does not suit the network.",
            hint=f"Sides are multiples of {network.divisible_by}{remainder}"
            f" and more than {2 * network.margin}.",
        )
    return limit
