"""What every inference mode gives back."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Prediction:
    """Probabilities (0..1) of the foreground labels on the prepared grid, float32 (L, k, j, i).

    ``probability`` is the deterministic pass with dropout off: it is what gets thresholded.  ``mean`` is the
    mean of the passes of the uncertainty, Monte Carlo, mirror images or members (the same array as
    ``probability`` without them, or if it was not wanted); ``std`` their population standard deviation
    (0..0.5).  ``entropy``, in nats, is that of the mean: per label for sigmoid outputs, or one volume
    (1, k, j, i) over all classes for softmax; ``mutual_information``, of the same shape, is the entropy less
    the mean of the passes' entropies.  All three are None without such passes, or if they were not wanted.
    """

    probability: np.ndarray
    mean: np.ndarray
    std: np.ndarray | None = None
    entropy: np.ndarray | None = None
    mutual_information: np.ndarray | None = None

    @classmethod
    def of(cls, volumes: Mapping[str, np.ndarray]) -> Prediction:
        """From the volumes that ``result_layers`` names."""
        return cls(**{"mean": volumes["probability"], **volumes})


def result_layers(
    labels: int, activation: str, samples: int, keep: Collection[str] | None = None
) -> dict[str, int]:
    """The volumes of a ``Prediction`` of so many labels, and how many layers each has.

    ``keep``: which volumes of the uncertainty are wanted, all by default; the probability always is.
    """
    if not samples:
        return {"probability": labels}
    entropies = entropy_layers(labels, activation)
    layers = {"mean": labels, "std": labels, "entropy": entropies, "mutual_information": entropies}
    wanted = {name: count for name, count in layers.items() if keep is None or name in keep}
    return {"probability": labels, **wanted}


def entropy_layers(labels: int, activation: str) -> int:
    """Softmax classes have one entropy together, each sigmoid label has its own."""
    return 1 if activation == "softmax" else labels
