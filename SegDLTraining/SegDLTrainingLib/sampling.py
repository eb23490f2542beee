"""Batches of slices with their neighbours: half of them with tumour, all cut or padded to one size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cc3d
import numpy as np
import torch

from SegDLTrainingLib.live_tumours import Insertion, LiveTumours
from SegDLTrainingLib.phantom_cases import PreparedVolume


class SliceSampler:
    """Draws batches; batch ``number`` depends on the seed and the number only.

    ``context``: slice offsets as channels; ``size`` [i, j]: slices are placed in a frame of this size, a
    random part of larger ones is taken; ``tumour_share``: share of slices with tumour; ``slice_zoom``:
    chance that the neighbours are taken at another distance, as with other slice spacings; ``live_share``:
    share of slices that get a tumour of ``live``.
    """

    def __init__(
        self,
        volumes: Sequence[PreparedVolume],
        context: Sequence[int],
        settings: Mapping[str, Any],
        seed: int,
        live: LiveTumours | None = None,
    ):
        self._volumes = volumes
        self._context = np.asarray(context)
        self._size = tuple(settings["size"])[::-1]
        self._batch = int(settings["batch"])
        self._share = float(settings["tumour_share"])
        self._zoom = float(settings.get("slice_zoom", 0.0))
        self._live, self._live_share = live, float(settings.get("live_share", 0.0))
        self._seed = seed
        self._tumours = [(v, slices) for v, volume in enumerate(volumes) for slices in _tumours(volume)]
        self._all = [(v, k) for v, volume in enumerate(volumes) for k in range(len(volume.image))]

    def batch(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Slices (N, context, j, i) float32 and masks (N, 1, j, i) float32."""
        rng = np.random.default_rng([self._seed, number])
        images = np.zeros((self._batch, len(self._context), *self._size), dtype=np.float32)
        masks = np.zeros((self._batch, 1, *self._size), dtype=np.float32)
        for row in range(self._batch):
            inserted = None
            if self._live is not None and rng.random() < self._live_share:
                volume = int(rng.integers(len(self._volumes)))
                inserted = self._live.insert(self._volumes[volume], rng)
            if inserted is not None:
                levels = np.flatnonzero(inserted.mask.any(axis=(1, 2))) + inserted.box[0].start
                k = int(rng.choice(levels))
            elif self._tumours and rng.random() < self._share:
                volume, slices = self._tumours[int(rng.integers(len(self._tumours)))]
                k = int(slices[int(rng.integers(len(slices)))])
            else:
                volume, k = self._all[int(rng.integers(len(self._all)))]
            self._place(self._volumes[volume], k, inserted, images[row], masks[row], rng)
        return torch.from_numpy(images), torch.from_numpy(masks)

    def _place(
        self,
        volume: PreparedVolume,
        k: int,
        inserted: Insertion | None,
        image: np.ndarray,
        mask: np.ndarray,
        rng: np.random.Generator,
    ) -> None:
        offsets = self._context * (-1 if rng.random() < 0.5 else 1)
        if rng.random() < self._zoom:
            offsets = np.rint(offsets * rng.uniform(0.6, 1.5)).astype(int)
        slices = np.clip(k + offsets, 0, len(volume.image) - 1)
        source, target = [], []
        for have, want in zip(volume.image.shape[1:], self._size, strict=True):
            start = int(rng.integers(abs(have - want) + 1))
            length = min(have, want)
            source.append(slice(start, start + length) if have > want else slice(0, length))
            target.append(slice(0, length) if have > want else slice(start, start + length))
        levels, outline = volume.image[slices], volume.mask[k]
        if inserted is not None:
            outline = outline.copy()
            _overlay(levels, outline, inserted, slices, k)
        image[:, target[0], target[1]] = levels[:, source[0], source[1]]
        mask[0, target[0], target[1]] = outline[source[0], source[1]]


def _overlay(
    levels: np.ndarray, outline: np.ndarray, inserted: Insertion, slices: np.ndarray, k: int
) -> None:
    """Put the inserted box into slices (C, j, i) and into the mask (j, i) of slice ``k``."""
    deep, rows, columns = inserted.box
    for channel, level in enumerate(slices):
        if deep.start <= level < deep.stop:
            levels[channel, rows, columns] = inserted.image[level - deep.start]
    if deep.start <= k < deep.stop:
        outline[rows, columns] = inserted.mask[k - deep.start]


def _tumours(volume: PreparedVolume) -> list[np.ndarray]:
    """The slices of each tumour; tumours are drawn first, so a small one is seen as often as a large one."""
    boxes = cc3d.statistics(cc3d.connected_components(volume.mask, connectivity=26))["bounding_boxes"][1:]
    return [np.arange(box[0].start, box[0].stop) for box in boxes]
