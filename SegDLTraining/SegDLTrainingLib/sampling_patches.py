"""Batches of 3D patches, or of 2D patches for networks that look at one slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from SegDLTrainingLib.volumes import PreparedVolume

POINTS_PER_LABEL = 2000


class PatchSampler:
    """Draws patches as images (N, C, k, j, i) with labels (N, k, j, i); beyond a volume both are 0.

    - ``patch`` [i, j, k]; [i, j] draws from single slices and gives images (N, C, j, i);
    - ``foreground_share``: share of patches round a voxel of a label; the label is drawn first, so that rare
      labels are seen as often as frequent ones, then a case that has it; 0.5 by default;
    - ``labels``: the labels that are drawn, all of the card by default; 0 stands for the background, and
      [0, 1, 2, ...] with a share of 1 makes all classes equally likely;
    - ``centred``: the drawn voxel is the patch's centre and a patch may reach beyond the volume; otherwise
      it lies somewhere in the patch's middle half and the patch inside the volume as far as it fits.
    """

    def __init__(
        self,
        volumes: Sequence[PreparedVolume],
        values: Sequence[int],
        counts: np.ndarray,
        settings: Mapping[str, Any],
        seed: int,
    ):
        self.size = int(settings["batch"])
        patch = [int(length) for length in settings["patch"]]
        self._flat = len(patch) == 2
        self._patch = np.array(([*patch, 1] if self._flat else patch)[::-1])
        self._share = float(settings.get("foreground_share", 0.5))
        self._centred = bool(settings.get("centred", False))
        self._seed = seed
        self._volumes = volumes
        drawn = settings.get("labels", values)
        with_label = {value: np.flatnonzero(counts[:, value]).tolist() for value in drawn}
        self._cases = {value: cases for value, cases in with_label.items() if cases}
        self._labels = list(self._cases)
        self._points = {
            (case, value): _points(volumes[case], value, seed)
            for value, cases in self._cases.items()
            for case in cases
        }

    def batch(self, number: int, rows: Sequence[int] | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = range(self.size) if rows is None else rows
        channels = len(self._volumes[0].image)
        images = np.zeros((len(chosen), channels, *self._patch), dtype=np.float32)
        labels = np.zeros((len(chosen), *self._patch), dtype=np.uint8)
        for place, row in enumerate(chosen):
            case, start = self._choose(np.random.default_rng([self._seed, number, row]))
            self._place(self._volumes[case], start, images[place], labels[place])
        if self._flat:
            images, labels = images[:, :, 0], labels[:, 0]
        return torch.from_numpy(images), torch.from_numpy(labels)

    def names(self, number: int, rows: Sequence[int] | None = None) -> list[str]:
        """Names of the cases that the batch is drawn from."""
        chosen = range(self.size) if rows is None else rows
        drawn = [self._choose(np.random.default_rng([self._seed, number, row]))[0] for row in chosen]
        return [self._volumes[case].name for case in drawn]

    def _choose(self, rng: np.random.Generator) -> tuple[int, np.ndarray]:
        """Number of a case and the first voxel (k, j, i) of a patch, which may be negative."""
        if self._labels and rng.random() < self._share:
            label = self._labels[int(rng.integers(len(self._labels)))]
            case = self._cases[label][int(rng.integers(len(self._cases[label])))]
            points = self._points[case, label]
            voxel = points[int(rng.integers(len(points)))]
        else:
            case = int(rng.integers(len(self._volumes)))
            voxel = rng.integers(0, self._volumes[case].shape)
        start = voxel - self._patch // 2
        if self._centred:
            return case, start
        reach = self._patch // 4
        start = start + rng.integers(-reach, reach + 1)
        spare = np.asarray(self._volumes[case].shape) - self._patch
        padded = rng.integers(np.minimum(spare, 0), 1)
        return case, np.where(spare < 0, padded, np.clip(start, 0, np.maximum(spare, 0)))

    def _place(
        self, volume: PreparedVolume, start: np.ndarray, image: np.ndarray, labels: np.ndarray
    ) -> None:
        low = np.maximum(start, 0)
        high = np.minimum(start + self._patch, volume.shape)
        source = tuple(slice(*pair) for pair in zip(low, high, strict=True))
        target = tuple(slice(*pair) for pair in zip(low - start, high - start, strict=True))
        image[:, *target] = volume.image[:, *source]
        labels[target] = volume.labels[source]


def _points(volume: PreparedVolume, value: int, seed: int) -> np.ndarray:
    """Up to POINTS_PER_LABEL voxels (k, j, i) of a label; 12 KB for each case and label stay in memory."""
    where = np.flatnonzero(np.asarray(volume.labels).reshape(-1) == value)
    if len(where) > POINTS_PER_LABEL:
        where = np.random.default_rng([seed, value, len(where)]).choice(
            where, POINTS_PER_LABEL, replace=False
        )
    return np.stack(np.unravel_index(np.sort(where), volume.shape), axis=1).astype(np.uint16)
