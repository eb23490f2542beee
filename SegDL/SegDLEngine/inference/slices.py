"""Slice-wise inference of a 2D network over a volume, each slice with its neighbours as channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from SegDLEngine.inference.execution import Executor, check_channels, suitable_batch
from SegDLEngine.inference.mirroring import Mirroring
from SegDLEngine.inference.prediction import Prediction, result_layers
from SegDLEngine.inference.runtime import Runtime
from SegDLEngine.networks.network import Network
from SegDLEngine.protocol import Reporter

_PROBE_SLICES = 2


@dataclass(frozen=True)
class SliceSettings:
    """The part of a card's ``inference`` that this mode reads."""

    context: tuple[int, ...] = (0,)
    batch: int = 8
    activation: str = "sigmoid"
    threshold: float = 0.5

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> SliceSettings:
        values = {key: settings[key] for key in ("batch", "activation", "threshold") if key in settings}
        return cls(context=tuple(int(offset) for offset in settings.get("context", (0,))), **values)


def slice_channels(channels: np.ndarray, slices: Sequence[int], context: Sequence[int]) -> np.ndarray:
    """Network input (N, C * len(context), j, i) for the numbered slices of ``channels`` (C, k, j, i).

    Per image channel the slices at the offsets ``context`` follow each other; beyond the first and last slice
    the volume continues with copies of them.
    """
    offsets = np.asarray(slices)[:, None] + np.asarray(context)[None, :]
    gathered = channels[:, np.clip(offsets, 0, channels.shape[1] - 1)]
    images, count = channels.shape[0], len(slices)
    return gathered.swapaxes(0, 1).reshape(count, images * len(context), *channels.shape[2:])


def pad_to_multiple(images: np.ndarray, multiple: int) -> np.ndarray:
    """Pad the last two axes with 0 at their ends so that their lengths are multiples."""
    rest = [-length % multiple for length in images.shape[-2:]]
    if not any(rest):
        return images
    widths = [(0, 0)] * (images.ndim - 2) + [(0, amount) for amount in rest]
    return np.pad(images, widths)


class _Slices:
    """The slices to predict, as batches of network input."""

    def __init__(self, channels: np.ndarray, chosen: Sequence[int], plan: SliceSettings, multiple: int):
        self.chosen = chosen
        self.shape = channels.shape[1:]
        self._channels = channels
        self._plan = plan
        self._multiple = multiple

    def images(self, slices: Sequence[int]) -> np.ndarray:
        gathered = slice_channels(self._channels, slices, self._plan.context)
        return pad_to_multiple(gathered, self._multiple)

    def probe(self) -> np.ndarray:
        """A few slices from the inner part, to measure on."""
        among = self.chosen or range(self.shape[0])
        count = min(_PROBE_SLICES, len(among))
        return self.images([among[(number + 1) * len(among) // (count + 1)] for number in range(count)])


def predict_slices(
    network: Network,
    channels: np.ndarray,
    settings: Mapping[str, Any],
    runtime: Runtime,
    reporter: Reporter,
    samples: int = 0,
    seed: int = 0,
    mask: np.ndarray | None = None,
) -> Prediction:
    """Predict the slices of ``channels`` (C, k, j, i) that have voxels in ``mask`` (k, j, i), all by default.

    In other slices probability and uncertainty are 0.  Slices are padded with 0, the value of air after
    preprocessing, to what the network divides by, and cropped back.
    """
    plan = SliceSettings.of(settings)
    depth, rows, columns = channels.shape[1:]
    chosen = range(depth) if mask is None else np.flatnonzero(mask.any(axis=(1, 2))).tolist()
    slices = _Slices(channels, chosen, plan, network.divisible_by)
    check_channels(network, len(channels) * len(plan.context))
    reporter.progress("inference", 0.0)
    executor = Executor(
        network,
        runtime,
        reporter,
        activation=plan.activation,
        batch=suitable_batch(plan.batch, rows * columns, runtime.device),
        mirroring=Mirroring.of(settings, network.dimensions, samples),
    )
    volumes = _run(executor, slices, plan, samples, seed, reporter)
    reporter.progress("inference", 1.0)
    return Prediction.of(volumes)


def _run(
    executor: Executor, slices: _Slices, plan: SliceSettings, samples: int, seed: int, reporter: Reporter
) -> dict[str, np.ndarray]:
    """The result's volumes, batch after batch; when memory runs out, step down and repeat the batch."""
    rows, columns = slices.shape[1:]
    volumes = executor.within_memory(lambda: _plan(executor, slices, plan, samples, reporter))
    for batch, output in executor.batches(slices.chosen, slices.images, samples, seed):
        for name, volume in volumes.items():
            volume[:, batch] = getattr(output, name).swapaxes(0, 1)[..., :rows, :columns]
    return volumes


def _plan(
    executor: Executor, slices: _Slices, plan: SliceSettings, samples: int, reporter: Reporter
) -> dict[str, np.ndarray]:
    """Measure a few slices, emit the ``plan`` event and return the empty volumes of the result.

    The event's ``patch`` is (i, j, slices in a batch); ``memory_mb`` counts features, weights and results.
    """
    images = slices.probe()
    probe = executor.probe(images, plan.threshold, samples)
    layers = result_layers(probe.labels, plan.activation, samples)
    volumes = {name: np.zeros((count, *slices.shape), np.float32) for name, count in layers.items()}
    memory = probe.memory_bytes + sum(volume.nbytes for volume in volumes.values())
    reporter.emit(
        "plan",
        device=str(executor.runtime.device),
        precision=executor.runtime.precision,
        patch=[images.shape[3], images.shape[2], executor.batch],
        memory_mb=round(memory / 2**20),
        seconds=round(probe.seconds_per_item * len(slices.chosen), 1),
    )
    return volumes
