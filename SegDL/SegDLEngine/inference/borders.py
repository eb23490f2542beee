"""What a network sees beyond the borders of an image, and how large its input may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from SegDLEngine.errors import ModelError
from SegDLEngine.networks.network import Network

PADDINGS = ("constant", "edge", "mirror")


@dataclass(frozen=True)
class Borders:
    """A card's ``inference.padding`` and ``fill``; raises ModelError for what it cannot use.

    "constant" continues the image with ``fill`` (one value, or one for each input), "edge" with its outermost
    voxels, "mirror" with its mirror image, in which the outermost voxels are not repeated (Ronneberger et al.
    2015, for unpadded networks).
    """

    padding: str = "constant"
    fill: float | tuple[float, ...] = 0.0

    @classmethod
    def of(cls, settings: Mapping[str, Any], inputs: int) -> Borders:
        """From a card's ``inference`` for so many inputs."""
        padding, fill = settings.get("padding", "constant"), settings.get("fill", 0.0)
        if padding not in PADDINGS:
            raise ModelError(
                f"The model card's inference.padding is '{padding}'.", hint=f"Known: {', '.join(PADDINGS)}."
            )
        values = tuple(map(float, fill)) if isinstance(fill, Sequence) else (float(fill),) * inputs
        if len(values) != inputs:
            raise ModelError(
                f"The model card's inference.fill has {len(values)} values for {inputs} inputs.",
                hint="Give one value, or one for each input.",
            )
        return cls(padding, values)

    def cut(self, images: np.ndarray, start: Sequence[int], size: Sequence[int]) -> np.ndarray:
        """The part of ``images`` (C, *axes) that begins at ``start`` and has ``size``, float32.

        ``start`` may be negative and the part may end beyond the image.  C is a multiple of the inputs.
        """
        whole = images.shape[1:]
        if self.padding == "constant" or _lies_inside(start, size, whole):
            return self._filled(images, start, size)
        for axis, (first, side, length) in enumerate(zip(start, size, whole, strict=True), start=1):
            images = images.take(self._places(np.arange(first, first + side), length), axis)
        return images.astype(np.float32, copy=False)

    def _filled(self, images: np.ndarray, start: Sequence[int], size: Sequence[int]) -> np.ndarray:
        part = np.empty((len(images), *size), np.float32)
        fill = np.ravel(np.asarray(self.fill, np.float32))
        part[:] = fill.repeat(len(images) // len(fill)).reshape(-1, *(1,) * len(size))
        source, target = [slice(None)], [slice(None)]
        for first, side, length in zip(start, size, images.shape[1:], strict=True):
            low, high = max(first, 0), max(min(first + side, length), 0)
            source.append(slice(low, high))
            target.append(slice(low - first, high - first))
        part[tuple(target)] = images[tuple(source)]
        return part

    def _places(self, places: np.ndarray, length: int) -> np.ndarray:
        """Which voxel 0..length-1 is seen at each of ``places``."""
        if self.padding == "edge" or length == 1:
            return np.clip(places, 0, length - 1)
        period = 2 * (length - 1)
        folded = places % period
        return np.minimum(folded, period - folded)


def _lies_inside(start: Sequence[int], size: Sequence[int], whole: Sequence[int]) -> bool:
    return all(
        first >= 0 and first + side <= length for first, side, length in zip(start, size, whole, strict=True)
    )


def allowed_sides(network: Network, longest: int) -> range:
    """The lengths up to ``longest`` that a side of the network's input may have."""
    step = network.divisible_by
    first = network.remainder or step
    while first <= 2 * network.margin:
        first += step
    return range(first, longest + 1, step)


def side_for(network: Network, answered: int) -> int:
    """The shortest side of an input for which the network answers at least so many voxels."""
    margins, step = 2 * network.margin, network.divisible_by
    return next(
        side for side in allowed_sides(network, answered + margins + step) if side - margins >= answered
    )
