"""Batches of slices with their neighbours: a share of them with tumour, all cut or padded to one size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cc3d
import numpy as np
import torch

from SegDLTrainingLib.live_tumours import Insertion, LiveTumours
from SegDLTrainingLib.volumes import PreparedVolume


class SliceSampler:
    """Draws slices as images (N, C * context, j, i) with the labels (N, j, i) of the middle slice.

    ``context``: slice offsets as channels; ``size`` [i, j]: slices are placed in a frame of this size, a
    random part of larger ones is taken; ``tumour_share``: share of slices with tumour; ``negative_share``:
    share of slices without any, 0 by default; the rest is any slice.  ``slice_zoom``: chance that the
    neighbours are taken at another distance, as with other slice spacings; ``live_share``: share of slices
    that get a tumour of ``live``.
    """

    def __init__(
        self,
        volumes: Sequence[PreparedVolume],
        context: Sequence[int],
        settings: Mapping[str, Any],
        seed: int,
        live: LiveTumours | None = None,
    ):
        self.size = int(settings["batch"])
        self._volumes = volumes
        self._context = np.asarray(context)
        self._frame = tuple(settings["size"])[::-1]
        self._share = float(settings["tumour_share"])
        self._negative_share = float(settings.get("negative_share", 0.0))
        self._zoom = float(settings.get("slice_zoom", 0.0))
        self._live = live
        self._live_share = float(settings.get("live_share", 0.0)) if live is not None else 0.0
        self._seed = seed
        self._all: list[tuple[int, int]] = []
        self._empty: list[tuple[int, int]] = []
        self._tumours: list[tuple[int, np.ndarray]] = []
        for number, volume in enumerate(volumes):
            self._index(number, volume)

    def _index(self, number: int, volume: PreparedVolume) -> None:
        """Tumours are drawn first and then their slices, so a small one is seen as often as a large one."""
        found = np.asarray(volume.labels) > 0
        filled = np.asarray(found.any(axis=(1, 2)))
        self._all += [(number, k) for k in range(len(filled))]
        self._empty += [(number, k) for k in np.flatnonzero(~filled).tolist()]
        parts = cc3d.connected_components(found, connectivity=26)
        boxes = cc3d.statistics(parts)["bounding_boxes"][1:]
        self._tumours += [(number, np.arange(box[0].start, box[0].stop)) for box in boxes]

    def batch(self, number: int, rows: Sequence[int] | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = range(self.size) if rows is None else rows
        channels = len(self._volumes[0].image) * len(self._context)
        images = np.zeros((len(chosen), channels, *self._frame), dtype=np.float32)
        labels = np.zeros((len(chosen), *self._frame), dtype=np.uint8)
        for place, row in enumerate(chosen):
            rng = np.random.default_rng([self._seed, number, row])
            volume, k, inserted = self._choose(rng)
            self._place(self._volumes[volume], k, inserted, images[place], labels[place], rng)
        return torch.from_numpy(images), torch.from_numpy(labels)

    def names(self, number: int, rows: Sequence[int] | None = None) -> list[str]:
        """Names of the cases that the batch is drawn from."""
        chosen = range(self.size) if rows is None else rows
        drawn = [self._choose(np.random.default_rng([self._seed, number, row]))[0] for row in chosen]
        return [self._volumes[volume].name for volume in drawn]

    def _choose(self, rng: np.random.Generator) -> tuple[int, int, Insertion | None]:
        """Number of a volume, a slice of it, and what is inserted there."""
        if self._live is not None and rng.random() < self._live_share:
            volume = int(rng.integers(len(self._volumes)))
            inserted = self._live.insert(self._volumes[volume], rng)
            if inserted is not None:
                levels = np.flatnonzero(inserted.mask.any(axis=(1, 2))) + inserted.box[0].start
                return volume, int(rng.choice(levels)), inserted
        kind = rng.random()
        if self._tumours and kind < self._share:
            volume, slices = self._tumours[int(rng.integers(len(self._tumours)))]
            return volume, int(slices[int(rng.integers(len(slices)))]), None
        among = self._empty if self._empty and kind >= 1 - self._negative_share else self._all
        volume, k = among[int(rng.integers(len(among)))]
        return volume, k, None

    def _place(
        self,
        volume: PreparedVolume,
        k: int,
        inserted: Insertion | None,
        image: np.ndarray,
        labels: np.ndarray,
        rng: np.random.Generator,
    ) -> None:
        offsets = self._context * (-1 if rng.random() < 0.5 else 1)
        if rng.random() < self._zoom:
            offsets = np.rint(offsets * rng.uniform(0.6, 1.5)).astype(int)
        slices = np.clip(k + offsets, 0, volume.shape[0] - 1)
        source, target = [], []
        for have, want in zip(volume.shape[1:], self._frame, strict=True):
            start = int(rng.integers(abs(have - want) + 1))
            length = min(have, want)
            source.append(slice(start, start + length) if have > want else slice(0, length))
            target.append(slice(0, length) if have > want else slice(start, start + length))
        levels, outline = volume.image[:, slices], volume.labels[k]
        if inserted is not None:
            outline = outline.copy()
            _overlay(levels[0], outline, inserted, slices, k)
        stacked = levels.reshape(len(image), *volume.shape[1:])
        image[:, target[0], target[1]] = stacked[:, source[0], source[1]]
        labels[target[0], target[1]] = outline[source[0], source[1]]


def _overlay(
    levels: np.ndarray, outline: np.ndarray, inserted: Insertion, slices: np.ndarray, k: int
) -> None:
    """Put the inserted box into slices (context, j, i) and into the labels (j, i) of slice ``k``."""
    deep, rows, columns = inserted.box
    for channel, level in enumerate(slices):
        if deep.start <= level < deep.stop:
            levels[channel, rows, columns] = inserted.image[level - deep.start]
    if deep.start <= k < deep.stop:
        outline[rows, columns] = inserted.mask[k - deep.start]
