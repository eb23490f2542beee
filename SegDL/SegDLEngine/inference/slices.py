"""Slice-wise inference of a 2D network over a volume, each slice with its neighbours as channels."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from SegDLEngine.inference.body_boxes import BodyBoxes, Box
from SegDLEngine.inference.borders import Borders
from SegDLEngine.inference.execution import Executor, check_channels, suitable_batch
from SegDLEngine.inference.mirroring import Mirroring
from SegDLEngine.inference.prediction import Prediction, result_layers
from SegDLEngine.inference.restarting import Shrink, begin_again_smaller, sides
from SegDLEngine.inference.runtime import Runtime
from SegDLEngine.inference.slice_tiles import SliceTiles
from SegDLEngine.networks.network import Network
from SegDLEngine.protocol import Reporter

_PROBE_SLICES = 2


@dataclass(frozen=True)
class SliceSettings:
    """The part of a card's ``inference`` that this mode reads; ``patch`` is (j, i)."""

    context: tuple[int, ...] = (0,)
    batch: int = 8
    activation: str = "sigmoid"
    threshold: float = 0.5
    patch: tuple[int, int] | None = None
    body_box: BodyBoxes | None = None

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> SliceSettings:
        values = {key: settings[key] for key in ("batch", "activation", "threshold") if key in settings}
        context = tuple(int(offset) for offset in settings.get("context", (0,)))
        columns, rows = settings["patch"][:2] if settings.get("patch") else (0, 0)
        patch = (rows, columns) if rows and columns else None
        return cls(context, patch=patch, body_box=BodyBoxes.of(settings.get("body_box")), **values)


def slice_channels(channels: np.ndarray, slices: Sequence[int], context: Sequence[int]) -> np.ndarray:
    """Network input (N, C * len(context), j, i) for the numbered slices of ``channels`` (C, k, j, i).

    Per image channel the slices at the offsets ``context`` follow each other; beyond the first and last slice
    the volume continues with copies of them.
    """
    offsets = np.asarray(slices)[:, None] + np.asarray(context)[None, :]
    gathered = channels[:, np.clip(offsets, 0, channels.shape[1] - 1)]
    images, count = channels.shape[0], len(slices)
    return gathered.swapaxes(0, 1).reshape(count, images * len(context), *channels.shape[2:])


class _Slices:
    """The slices to predict, as batches of network input; an item is a tile of a slice, see ``SliceTiles``.

    Examined are the tiles in which ``mask`` (k, j, i) has voxels, all without it.
    """

    def __init__(
        self,
        channels: np.ndarray,
        plan: SliceSettings,
        borders: Borders,
        tiles: SliceTiles,
        mask: np.ndarray | None = None,
    ):
        self.shape = channels.shape[1:]
        self.tiles = tiles
        self._channels = channels
        self._plan = plan
        self._borders = borders
        self.items = [
            item
            for item in range(self.shape[0] * tiles.count)
            if mask is None or mask[self._place(item)].any()
        ]

    def images(self, items: Sequence[int]) -> np.ndarray:
        """Network input (N, C, j, i)."""
        parts = []
        for item in items:
            k, tile = divmod(item, self.tiles.count)
            parts.append(self._borders.cut(self._planes(k), self.tiles.start(tile), self.tiles.patch))
        return np.stack(parts)

    def store(self, item: int, values: np.ndarray, volume: np.ndarray) -> None:
        """Put the network's output (L, rows, columns) for an item where it belongs in ``volume``."""
        place = self._place(item)
        target = volume[:, *place]
        target[:] = values[:, : target.shape[1], : target.shape[2]]

    def probe(self, most: int) -> np.ndarray:
        """A few items from the inner part, to measure on; no more than ``most``."""
        among = self.items or range(self.shape[0] * self.tiles.count)
        count = min(_PROBE_SLICES, most, len(among))
        return self.images([among[(number + 1) * len(among) // (count + 1)] for number in range(count)])

    def _planes(self, k: int) -> np.ndarray:
        return slice_channels(self._channels, [k], self._plan.context)[0]

    def _place(self, item: int) -> tuple[int, slice, slice]:
        k, tile = divmod(item, self.tiles.count)
        return k, *self.tiles.place(tile)


class _BodySlices(_Slices):
    """The slices, each in the box of its body at one size."""

    def __init__(
        self,
        channels: np.ndarray,
        plan: SliceSettings,
        borders: Borders,
        tiles: SliceTiles,
        mask: np.ndarray | None,
        boxes: BodyBoxes,
    ):
        self._boxes = boxes
        super().__init__(channels, plan, borders, tiles, mask)

    def store(self, item: int, values: np.ndarray, volume: np.ndarray) -> None:
        columns, rows = self._boxes.size
        volume[:, item] = self._boxes.expand(values[:, :rows, :columns], self._box(item), self.shape[1:])

    def _planes(self, k: int) -> np.ndarray:
        return self._boxes.shrink(super()._planes(k), self._box(k))

    def _place(self, item: int) -> tuple[int, slice, slice]:
        return item, slice(None), slice(None)

    def _box(self, k: int) -> Box:
        return self._boxes.box(self._channels[0, k])


def predict_slices(
    network: Network,
    channels: np.ndarray,
    settings: Mapping[str, Any],
    runtime: Runtime,
    reporter: Reporter,
    samples: int = 0,
    seed: int = 0,
    mask: np.ndarray | None = None,
    keep: Collection[str] | None = None,
) -> Prediction:
    """Predict the slices of ``channels`` (C, k, j, i) that have voxels in ``mask`` (k, j, i), all by default.

    Elsewhere probability and uncertainty are 0.  Beyond its borders a slice goes on as the card says, by
    default with 0: as far as the network's size needs and, for an unpadded network, so far that its answer
    covers the slice.  Such a network examines a slice in tiles if the card limits their size (``patch``) or
    memory runs out.  With ``body_box`` each slice is cropped to its body and brought to one size; the answer
    returns to the nearest pixels and is 0 beside the box.
    """
    plan = SliceSettings.of(settings)
    check_channels(network, len(channels) * len(plan.context))
    borders = Borders.of(settings, len(channels))
    shape = plan.body_box.size[::-1] if plan.body_box is not None else channels.shape[2:]
    mirroring = Mirroring.of(settings, network.dimensions, samples)
    reporter.progress("inference", 0.0)

    def attempt(tiles: SliceTiles, shrink: Shrink) -> dict[str, np.ndarray]:
        executor = Executor(
            network,
            runtime,
            reporter,
            activation=plan.activation,
            batch=suitable_batch(plan.batch, math.prod(tiles.patch), runtime.device),
            mirroring=mirroring,
            shrink=shrink,
        )
        if plan.body_box is None:
            slices = _Slices(channels, plan, borders, tiles, mask)
        else:
            slices = _BodySlices(channels, plan, borders, tiles, mask, plan.body_box)
        return _run(executor, slices, plan, samples, seed, reporter, keep)

    volumes = begin_again_smaller(
        SliceTiles.of(network, shape, plan.patch),
        attempt,
        lambda tiles: tiles.smaller(network) if plan.body_box is None else None,
        lambda tiles: f"tiles of {sides(tiles.patch)} pixels",
        reporter,
    )
    reporter.progress("inference", 1.0)
    return Prediction.of(volumes)


def _run(
    executor: Executor,
    slices: _Slices,
    plan: SliceSettings,
    samples: int,
    seed: int,
    reporter: Reporter,
    keep: Collection[str] | None,
) -> dict[str, np.ndarray]:
    """The result's volumes, batch after batch; when memory runs out, step down and repeat the batch."""
    volumes = executor.within_memory(lambda: _plan(executor, slices, plan, samples, reporter, keep))
    for batch, output in executor.batches(slices.items, slices.images, samples, seed):
        for name, volume in volumes.items():
            for item, values in zip(batch, getattr(output, name), strict=True):
                slices.store(item, values, volume)
    return volumes


def _plan(
    executor: Executor,
    slices: _Slices,
    plan: SliceSettings,
    samples: int,
    reporter: Reporter,
    keep: Collection[str] | None,
) -> dict[str, np.ndarray]:
    """Measure a few slices, emit the ``plan`` event and return the empty volumes of the result.

    The event's ``patch`` is (i, j, tiles in a batch); ``memory_mb`` counts features, weights and results.
    """
    images = slices.probe(executor.batch)
    probe = executor.probe(images, plan.threshold, samples)
    layers = result_layers(probe.labels, plan.activation, samples, keep)
    volumes = {name: np.zeros((count, *slices.shape), np.float32) for name, count in layers.items()}
    memory = probe.memory_bytes + sum(volume.nbytes for volume in volumes.values())
    reporter.emit(
        "plan",
        device=str(executor.runtime.device),
        precision=executor.runtime.precision,
        patch=[images.shape[3], images.shape[2], executor.batch],
        memory_mb=round(memory / 2**20),
        seconds=round(probe.seconds_per_item * len(slices.items), 1),
    )
    return volumes
