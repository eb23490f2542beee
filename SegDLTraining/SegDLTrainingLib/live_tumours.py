"""A new tumour in a prepared volume, drawn while the network trains, so that none is seen twice.

The prepared grey values are taken back to HU inside a box, the tumour is blended in, and the card's own last
steps turn the box into grey values again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import edt
import numpy as np
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.preprocessing.registry import PreparedCase, run_steps

from SegDLTrainingLib.synthesis.space import EVERYWHERE, Box, Space, smooth_maximum
from SegDLTrainingLib.synthesis.tumours import choose_kind, fill_tumour, largest_part, tumour_shape
from SegDLTrainingLib.volumes import PreparedVolume

AERATED_HU = (-985.0, -500.0)
TRIES = 200
FAR_MM = 200.0


@dataclass(frozen=True)
class Insertion:
    """Grey values and mask of a ``box`` of a volume, with the tumour in it."""

    box: Box
    image: np.ndarray
    mask: np.ndarray


class LiveTumours:
    """Draws tumours of ``diameter_mm`` [smallest, largest], log-uniform, for the steps of one card."""

    def __init__(self, steps: Sequence[Mapping[str, Any]], diameter_mm: Sequence[float]):
        names = [entry["step"] for entry in steps]
        grey = names.index("harmonise")
        harmonise, scale = steps[grey], steps[names.index("scale")]
        self._last_steps = list(steps[grey:])
        self._spacing = tuple(next(entry["spacing"] for entry in steps if entry["step"] == "canonical"))
        self._bin, self._low = harmonise.get("bin", 25), harmonise.get("low", -1000)
        self._factor = scale["factor"]
        self._diameters = diameter_mm

    def insert(self, volume: PreparedVolume, rng: np.random.Generator) -> Insertion | None:
        """A tumour somewhere in the lungs of ``volume``, which stays unchanged; None if none fits."""
        diameter = float(np.exp(rng.uniform(*np.log(self._diameters))))
        grey = volume.image[0]
        centre = self._aerated_voxel(grey, rng)
        if centre is None:
            return None
        reach = np.ceil((0.85 * diameter + 4) / np.asarray(self._spacing[::-1])).astype(int)
        low = np.maximum(centre - reach, 0)
        high = np.minimum(centre + reach + 1, grey.shape)
        box: Box = tuple(slice(*pair) for pair in zip(low, high, strict=True))  # type: ignore[assignment]
        values = self._hu(grey[box])
        space = Space(Grid(values.shape[::-1], self._spacing), rng)
        middle = ((centre - low) * self._spacing[::-1])[::-1]
        shape = tumour_shape(space, EVERYWHERE, middle, diameter / 2, rng)
        invasion = rng.uniform(0, 2.5) if rng.random() < 0.7 else rng.uniform(2.5, 10)
        shape = largest_part(smooth_maximum(shape, self._lung_distance(values) - invasion, 3.0))
        air = grey[box] <= 0
        mask = (shape < rng.uniform(0.3, 1.2)) & ~(air & (shape > -2))
        if mask.sum() * volume.voxel_ml < 0.15:
            return None
        fill_tumour(values, space, EVERYWHERE, shape, diameter / 2, choose_kind(diameter, rng), True, rng)
        image = np.where(air & ~mask, grey[box], self._grey(values, space.grid))
        return Insertion(box, image, np.maximum(mask, volume.labels[box] > 0).astype(np.uint8))

    def _aerated_voxel(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
        for _ in range(TRIES):
            at = rng.integers(0, image.shape)
            value = self._hu(image[tuple(at)])
            if image[tuple(at)] > 0 and AERATED_HU[0] < value < AERATED_HU[1]:
                return at
        return None

    def _lung_distance(self, values: np.ndarray) -> np.ndarray:
        """Signed distance (mm) to aerated lung with its vessels; negative inside."""
        aerated = (values > AERATED_HU[0]) & (values < AERATED_HU[1])
        spacing = self._spacing[::-1]
        near = edt.edt(~aerated, anisotropy=spacing) < 5
        closed = edt.edt(near, anisotropy=spacing) > 5
        lung = closed | aerated
        outside = edt.edt(~lung, anisotropy=spacing)
        distance = outside - edt.edt(lung, anisotropy=spacing)
        return np.clip(np.nan_to_num(distance), -FAR_MM, FAR_MM).astype(np.float32)

    def _hu(self, grey: np.ndarray) -> np.ndarray:
        return (grey.astype(np.float32) / self._factor + 0.5) * self._bin + self._low

    def _grey(self, values: np.ndarray, grid: Grid) -> np.ndarray:
        case = PreparedCase({"CT": Image(values, grid)}, "CT")
        return run_steps(case, self._last_steps).channels(["CT"])[0]
