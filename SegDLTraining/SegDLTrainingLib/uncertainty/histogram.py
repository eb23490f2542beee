"""Errors by uncertainty, gathered case by case without keeping the voxels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

FINE_BINS = 10000
BINS = 10
KEPT_SHARES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0)


class ErrorsByUncertainty:
    """Counts of right and wrong voxels in fine bins of an uncertainty within 0 to ``highest``.

    ``maximum`` is the largest value seen, by which the report divides.
    """

    def __init__(self, highest: float):
        self._highest = highest
        self.maximum = 0.0
        self._counts = {
            kind: np.zeros(FINE_BINS, np.int64) for kind in ("voxels", "both", "found only", "missed")
        }

    def add(self, uncertainty: np.ndarray, found: np.ndarray, truth: np.ndarray) -> None:
        """Uncertainty and masks (bool) of one shape."""
        self.maximum = max(self.maximum, float(uncertainty.max(initial=0.0)))
        place = np.clip((uncertainty * (FINE_BINS / self._highest)).astype(np.int64), 0, FINE_BINS - 1)
        masks = {"both": found & truth, "found only": found & ~truth, "missed": ~found & truth}
        self._counts["voxels"] += np.bincount(place.ravel(), minlength=FINE_BINS)
        for kind, mask in masks.items():
            self._counts[kind] += np.bincount(place[mask], minlength=FINE_BINS)

    @property
    def _wrong(self) -> np.ndarray:
        return self._counts["found only"] + self._counts["missed"]

    def bins(self) -> Iterator[dict[str, float | int | None]]:
        """Ten bins of the uncertainty as a share of its maximum: voxels, and the share that is wrong."""
        middle = (np.arange(FINE_BINS) + 0.5) * self._highest / FINE_BINS
        share = middle / self.maximum if self.maximum > 0 else np.zeros(FINE_BINS)
        place = np.minimum((share * BINS).astype(int), BINS - 1)
        sums = {
            kind: np.bincount(place, counts, BINS).astype(np.int64) for kind, counts in self._counts.items()
        }
        for number in range(BINS):
            row = {kind: int(values[number]) for kind, values in sums.items()}
            wrong = row["found only"] + row["missed"]
            yield {
                "from": number / BINS,
                "to": (number + 1) / BINS,
                "voxels": row["voxels"],
                "wrong": wrong,
                "error_rate": wrong / row["voxels"] if row["voxels"] else None,
                "dice": _dice(row["both"], wrong),
            }

    def retention(self) -> Iterator[dict[str, float | None]]:
        """Error rate and Dice of the least uncertain voxels, at least so large a share of all.

        "truth_kept" is the share of the reference among them: with little of it left the Dice says little.
        """
        voxels = np.cumsum(self._counts["voxels"])
        both, wrong = np.cumsum(self._counts["both"]), np.cumsum(self._wrong)
        truth = both + np.cumsum(self._counts["missed"])
        for share in KEPT_SHARES:
            last = int(np.searchsorted(voxels, share * voxels[-1] - 1e-6))
            yield {
                "wanted": share,
                "kept": float(voxels[last] / voxels[-1]),
                "error_rate": float(wrong[last] / voxels[last]),
                "dice": _dice(int(both[last]), int(wrong[last])),
                "truth_kept": float(truth[last] / truth[-1]) if truth[-1] else None,
            }

    def area_under_curve(self) -> float | None:
        """Chance that a wrong voxel is more uncertain than a right one (ROC); None without either kind."""
        wrong = self._wrong
        right = self._counts["voxels"] - wrong
        if not wrong.sum() or not right.sum():
            return None
        less = np.cumsum(right) - right
        return float((wrong * (less + 0.5 * right)).sum() / (float(wrong.sum()) * float(right.sum())))


class Calibration:
    """How often a probability comes true, in ten bins."""

    def __init__(self) -> None:
        self._sums = np.zeros((3, BINS))

    def add(self, probability: np.ndarray, truth: np.ndarray) -> None:
        place = np.minimum((probability * BINS).astype(int), BINS - 1).ravel()
        for row, weights in zip(self._sums, (None, probability.ravel(), truth.ravel()), strict=True):
            row += np.bincount(place, weights, BINS)

    def bins(self) -> Iterator[dict[str, float | int | None]]:
        for number, (count, probability, true) in enumerate(self._sums.T):
            yield {
                "from": number / BINS,
                "to": (number + 1) / BINS,
                "voxels": int(count),
                "mean_probability": probability / count if count else None,
                "frequency": true / count if count else None,
            }

    def error(self) -> float:
        """Expected calibration error: the mean difference of both, weighted by voxels."""
        count, probability, true = self._sums
        return float(np.abs(probability - true).sum() / max(count.sum(), 1))


def _dice(both: int, wrong: int) -> float | None:
    return 2 * both / (2 * both + wrong) if both + wrong else None
