"""Inference of a 3D network over a volume, by overlapping windows that are blended."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from SegDLEngine.errors import ModelError
from SegDLEngine.inference.blending import BLENDINGS, SlabBlender
from SegDLEngine.inference.borders import Borders, allowed_sides
from SegDLEngine.inference.execution import Executor, check_channels, suitable_batch
from SegDLEngine.inference.mirroring import Mirroring
from SegDLEngine.inference.monte_carlo import foreground_entropy
from SegDLEngine.inference.prediction import Prediction, result_layers
from SegDLEngine.inference.restarting import Shrink, begin_again_smaller, sides
from SegDLEngine.inference.runtime import Runtime
from SegDLEngine.inference.window_layout import WindowLayout, fit_length
from SegDLEngine.networks.network import Network
from SegDLEngine.protocol import Reporter

# When memory runs out, sides are not halved below this.
_LEAST_SIDE = 32


@dataclass(frozen=True)
class WindowSettings:
    """The part of a card's ``inference`` that this mode reads; raises ModelError for what it cannot use.

    ``patch`` (i, j, k) is what the network sees of a window.  With ``adapt_patch`` it is the largest: a side
    becomes as short as it can without more windows, and shorter still when memory runs out.
    """

    patch: tuple[int, int, int]
    overlap: float = 0.25
    batch: int = 1
    blending: str = "gaussian"
    adapt_patch: bool = False
    activation: str = "sigmoid"
    threshold: float = 0.5

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> WindowSettings:
        names = ("overlap", "batch", "blending", "adapt_patch", "activation", "threshold")
        values = {name: settings[name] for name in names if name in settings}
        if len(settings.get("patch") or ()) != 3:
            raise ModelError(
                "The model card's inference mode 'windows' has no 'patch'.",
                hint="Give the size of a window in voxels, such as [96, 96, 96].",
            )
        if values.get("blending", "gaussian") not in BLENDINGS:
            raise ModelError(
                f"The model card's inference.blending is '{values['blending']}'.",
                hint=f"Known: {', '.join(BLENDINGS)}.",
            )
        if not 0 <= values.get("overlap", 0) < 1:
            raise ModelError(
                f"The model card's inference.overlap is {values['overlap']}.",
                hint="Use a part of the window's length, from 0 to less than 1.",
            )
        i, j, k = (int(side) for side in settings["patch"])
        return cls(patch=(i, j, k), **values)


class _Windows:
    """The windows to predict, as batches of network input.

    ``layout`` places what the network answers, its ``patch`` (k, j, i) less the margin of unpadded
    convolutions; the windows are those in which ``mask`` has voxels.
    """

    def __init__(
        self,
        network: Network,
        channels: np.ndarray,
        patch: tuple[int, ...],
        plan: WindowSettings,
        borders: Borders,
        mask: np.ndarray | None,
    ):
        self._channels = channels
        self._borders = borders
        self._network = network
        self.patch = patch
        answered = [side - 2 * network.margin for side in patch]
        self.layout = WindowLayout.of(channels.shape[1:], answered, plan.overlap)
        self.chosen = [
            number
            for number in range(len(self.layout))
            if mask is None or mask[self.layout.inside(number)].any()
        ]

    @property
    def partial(self) -> bool:
        return len(self.chosen) < len(self.layout)

    def images(self, windows: Sequence[int]) -> np.ndarray:
        """Network input (N, C, k, j, i) of the numbered windows."""
        starts = (self.layout.start(number) for number in windows)
        margin = self._network.margin
        cut = self._borders.cut
        return np.stack([cut(self._channels, [at - margin for at in start], self.patch) for start in starts])

    def probe(self) -> np.ndarray:
        """The inner part of a window from the middle of the volume, half as long, to measure on."""
        number = self.chosen[len(self.chosen) // 2] if self.chosen else len(self.layout) // 2
        image = self.images([number])
        for axis, side in enumerate(self.patch, start=2):
            inner = next(length for length in allowed_sides(self._network, side) if 2 * length >= side)
            image = image.take(range((side - inner) // 2, (side + inner) // 2), axis=axis)
        return image


def predict_windows(
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
    """Predict the windows of ``channels`` (C, k, j, i) with voxels in ``mask`` (k, j, i), all by default.

    Where none of them reaches, probability and uncertainty are 0.  The standard deviations and the mutual
    information of overlapping windows are averaged like their probabilities: their dropout is independent,
    and the deviation of the average would only tell where windows overlap.
    """
    plan = WindowSettings.of(settings)
    check_channels(network, len(channels))
    mirroring = Mirroring.of(settings, network.dimensions, samples)
    borders = Borders.of(settings, len(channels))
    reporter.progress("inference", 0.0)

    def attempt(patch: tuple[int, ...], shrink: Shrink) -> dict[str, np.ndarray]:
        executor = Executor(
            network,
            runtime,
            reporter,
            activation=plan.activation,
            batch=suitable_batch(plan.batch, math.prod(patch), runtime.device),
            mirroring=mirroring,
            shrink=shrink,
        )
        windows = _Windows(network, channels, patch, plan, borders, mask)
        return _run(executor, windows, plan, samples, seed, reporter, keep)

    volumes = begin_again_smaller(
        _patch(network, plan, channels.shape[1:]),
        attempt,
        lambda patch: _smaller(network, patch) if plan.adapt_patch else None,
        lambda patch: f"windows of {sides(patch)} voxels",
        reporter,
    )
    reporter.progress("inference", 1.0)
    return Prediction.of(volumes)


def _run(
    executor: Executor,
    windows: _Windows,
    plan: WindowSettings,
    samples: int,
    seed: int,
    reporter: Reporter,
    keep: Collection[str] | None,
) -> dict[str, np.ndarray]:
    """The result's volumes, filled slice by slice as the windows that reach a slice are done."""
    volumes, blender = executor.within_memory(lambda: _plan(executor, windows, plan, samples, reporter, keep))
    for batch, output in executor.batches(windows.chosen, windows.images, samples, seed):
        for row, number in enumerate(batch):
            _store(blender.release(windows.layout.start(number)[0]), volumes, plan.activation)
            blender.add(number, {name: getattr(output, name)[row] for name in blender.names})
    _store(blender.release(windows.layout.size[0]), volumes, plan.activation)
    return volumes


def _store(
    slices: Iterable[tuple[int, dict[str, np.ndarray]]], volumes: dict[str, np.ndarray], activation: str
) -> None:
    """Keep of finished slices what is wanted; rounding may have carried sums of weights a little beyond 1."""
    for k, layers in slices:
        for name, values in layers.items():
            most = np.inf if name == "mutual_information" else 1
            np.clip(values, 0, most, out=values)
            if name in volumes:
                volumes[name][:, k] = values
        if "entropy" in volumes:
            volumes["entropy"][:, k] = foreground_entropy(layers["mean"], activation)


def _plan(
    executor: Executor,
    windows: _Windows,
    plan: WindowSettings,
    samples: int,
    reporter: Reporter,
    keep: Collection[str] | None,
) -> tuple[dict[str, np.ndarray], SlabBlender]:
    """Measure a small window, emit the ``plan`` event; the empty volumes of the result, and the blender.

    The event's ``patch`` is (i, j, k); ``memory_mb`` counts features, weights, slabs and results.
    """
    image = windows.probe()
    scale = math.prod(windows.patch) / math.prod(image.shape[2:])
    probe = executor.probe(image, plan.threshold, samples, scale)
    layers = result_layers(probe.labels, plan.activation, samples, keep)
    volumes = {name: np.zeros((count, *windows.layout.size), np.float32) for name, count in layers.items()}
    blended = {name: count for name, count in layers.items() if name != "entropy"}
    if "entropy" in layers:
        blended["mean"] = probe.labels
    blender = SlabBlender(windows.layout, blended, plan.blending, windows.partial)
    memory = probe.memory_bytes + blender.nbytes + sum(volume.nbytes for volume in volumes.values())
    reporter.emit(
        "plan",
        device=str(executor.runtime.device),
        precision=executor.runtime.precision,
        patch=list(reversed(windows.patch)),
        memory_mb=round(memory / 2**20),
        seconds=round(probe.seconds_per_item * len(windows.chosen), 1),
    )
    return volumes, blender


def _patch(network: Network, plan: WindowSettings, size: Sequence[int]) -> tuple[int, ...]:
    """The patch (k, j, i) for a volume of ``size``; raises ModelError if the network cannot take it."""
    patch = []
    for side, whole in zip(reversed(plan.patch), size, strict=True):
        allowed = allowed_sides(network, side)
        if side not in allowed:
            remainder = f" plus {network.remainder}" if network.remainder else ""
            raise ModelError(
                f"The model card's inference.patch {list(plan.patch)} does not suit the network.",
                hint=f"Sides are multiples of {network.divisible_by}{remainder}"
                f" and more than {2 * network.margin}.",
            )
        margins = 2 * network.margin
        answered = [length - margins for length in allowed]
        patch.append(fit_length(whole, answered, plan.overlap) + margins if plan.adapt_patch else side)
    return tuple(patch)


def _smaller(network: Network, patch: tuple[int, ...]) -> tuple[int, ...] | None:
    """The patch (k, j, i) with sides about half as long; None if it is too small already."""
    smaller = tuple(
        max(
            (length for length in allowed_sides(network, side) if length <= max(side / 2, _LEAST_SIDE)),
            default=side,
        )
        for side in patch
    )
    return smaller if smaller != patch else None
