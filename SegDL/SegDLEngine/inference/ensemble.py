"""Several networks of one kind, the folds of a training: the mean of their probabilities, and its spread."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np

from SegDLEngine.errors import ModelError
from SegDLEngine.inference.monte_carlo import foreground_entropy
from SegDLEngine.inference.predict import predict
from SegDLEngine.inference.prediction import Prediction, entropy_layers
from SegDLEngine.inference.runtime import Runtime
from SegDLEngine.models.card import ENSEMBLE
from SegDLEngine.networks.network import Network
from SegDLEngine.protocol import Reporter


def predict_members(
    networks: Iterable[Network],
    count: int,
    channels: np.ndarray,
    settings: Mapping[str, Any],
    runtime: Runtime,
    reporter: Reporter,
    samples: int = 0,
    seed: int = 0,
    mask: np.ndarray | None = None,
    keep: Collection[str] | None = None,
) -> Prediction:
    """The mean prediction of ``count`` networks; one is in memory at a time.  Parameters as ``predict``.

    With the uncertainty "ensemble" the spread is that of the members' probabilities; with Monte Carlo
    dropout or mirror images each member makes its own ``samples``, and the spread is that of all of them;
    every volume of it is then made, whatever ``keep`` says, because the sums need them.
    """
    of_members = bool(samples) and settings.get("uncertainty") == ENSEMBLE
    if of_members and count < 2:
        raise ModelError(
            "The model card asks for the spread of an ensemble, and there is one network.",
            hint="Run it with samples=0, or install the weights of several folds.",
        )
    passes = 0 if of_members else samples
    if count == 1:
        (network,) = networks
        return predict(network, channels, settings, runtime, reporter, passes, seed, mask, keep)
    average = _Average(settings["activation"], of_members)
    proposed = runtime.check_precision
    members = iter(networks)
    for number in range(count):
        # Half precision has to prove itself on the weights of each member.
        runtime.check_precision = proposed and runtime.precision != "fp32"
        watcher = _MemberReporter(reporter, number, count)
        # The network is named nowhere, so that it is gone before the next one is built.
        average.add(predict(next(members), channels, settings, runtime, watcher, passes, seed + number, mask))
    return average.prediction()


class _MemberReporter(Reporter):
    """Reports the work on one of several networks as a part of the whole; one ``plan`` for all."""

    def __init__(self, whole: Reporter, number: int, count: int):
        super().__init__(job=whole.job)
        self._whole = whole
        self._number = number
        self._count = count

    def check(self) -> None:
        self._whole.check()

    def progress(self, stage: str, fraction: float, **details: Any) -> None:
        self._whole.progress(stage, (self._number + fraction) / self._count, **details)

    def emit(self, event: str, **fields: Any) -> None:
        if event == "plan":
            if self._number:
                return
            fields["seconds"] = round(fields["seconds"] * self._count, 1)
        self._whole.emit(event, **fields)

    def warning(self, code: str, text: str) -> None:
        self._whole.warning(code, text)


class _Average:
    """Running mean of predictions and, for their spread, of squared deviations and entropies.

    Slice by slice and in the arrays of the first prediction, so that the sums need no volumes beside those
    that stay.  Means and squares follow Welford (1962): equal members have a deviation of exactly 0.
    """

    def __init__(self, activation: str, of_members: bool):
        self._activation = activation
        self._of_members = of_members
        self._count = 0

    def add(self, found: Prediction) -> None:
        self._count += 1
        if self._count == 1:
            self._begin(found)
            return
        for k in range(found.probability.shape[1]):
            if not self._of_members:
                self._certain[:, k] += (found.probability[:, k] - self._certain[:, k]) / self._count
            if self._squares is not None and self._entropies is not None:
                mean, squares, entropies = self._moments(found, k)
                before = mean - self._mean[:, k]
                self._mean[:, k] += before / self._count
                self._squares[:, k] += squares + before * (mean - self._mean[:, k])
                self._entropies[:, k] += entropies

    def prediction(self) -> Prediction:
        """Of all members; the sums are used up."""
        if self._squares is None or self._entropies is None:
            return Prediction(self._certain, self._certain)
        std, information = self._squares, self._entropies
        entropy = np.empty_like(information)
        for k in range(std.shape[1]):
            np.sqrt(np.clip(std[:, k] / self._count, 0, 0.25), out=std[:, k])
            entropy[:, k] = foreground_entropy(self._mean[:, k], self._activation)
            information[:, k] = np.maximum(entropy[:, k] - information[:, k] / self._count, 0)
        return Prediction(self._certain, self._mean, std, entropy, information)

    def _begin(self, first: Prediction) -> None:
        # With the spread of the members themselves, their mean is the prediction: one array.
        self._certain = self._mean = first.probability
        self._squares: np.ndarray | None = None
        self._entropies: np.ndarray | None = None
        if not self._of_members and first.std is None:
            return
        if not self._of_members:
            self._mean = first.mean
        labels, *shape = first.probability.shape
        self._squares = np.empty((labels, *shape), np.float32)
        self._entropies = np.empty((entropy_layers(labels, self._activation), *shape), np.float32)
        for k in range(shape[0]):
            _, self._squares[:, k], self._entropies[:, k] = self._moments(first, k)

    def _moments(self, found: Prediction, k: int) -> tuple[np.ndarray, np.ndarray | float, np.ndarray]:
        """Of the passes of one member in slice ``k``: mean, variance and mean entropy."""
        mean = found.mean[:, k]
        if found.std is None or found.entropy is None or found.mutual_information is None:
            return mean, 0.0, foreground_entropy(mean, self._activation)
        return mean, found.std[:, k] ** 2, found.entropy[:, k] - found.mutual_information[:, k]
