"""Dice slice by slice, and as report 004 defines it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BATCH, SMOOTH = 64, 100.0


def slice_rows(
    truth: np.ndarray, found: np.ndarray, probability: np.ndarray, uncertainty: dict[str, np.ndarray]
) -> list[dict[str, float | int | None]]:
    """One row a slice of (k, j, i) arrays: sizes, soft sums, hard Dice and the mean uncertainties.

    "dice" is None where both masks are empty.  Uncertainties are averaged where either mask is, or over the
    slice where none is.
    """
    rows = []
    for k, (wanted, got, soft) in enumerate(zip(truth, found, probability, strict=True)):
        size = int(wanted.sum()) + int(got.sum())
        region = wanted | got if size else np.ones_like(wanted)
        rows.append(
            {
                "slice": k,
                "truth": int(wanted.sum()),
                "found": int(got.sum()),
                "soft_overlap": float(soft[wanted].sum(dtype=np.float64)),
                "soft_found": float(soft.sum(dtype=np.float64)),
                "dice": 2 * int((wanted & got).sum()) / size if size else None,
                **{name: float(values[k][region].mean()) for name, values in uncertainty.items()},
            }
        )
    return rows


def report_dice(rows: Sequence[dict], batch: int = BATCH, smooth: float = SMOOTH) -> float | None:
    """Report 004: (2 sum yp + s) / (sum y + sum p + s) over batches of slices, the mean of the batches.

    Probabilities are not thresholded, so empty slices count as well.  As there, a last batch that is not full
    is left out, unless it is the only one.
    """
    full = len(rows) // batch * batch or len(rows)
    values = []
    for first in range(0, full, batch):
        part = rows[first : first + batch]
        overlap, truth, found = (
            sum(row[key] for row in part) for key in ("soft_overlap", "truth", "soft_found")
        )
        values.append((2 * overlap + smooth) / (truth + found + smooth))
    return float(np.mean(values)) if values else None


def hard_dice(rows: Sequence[dict]) -> float | None:
    """Mean of the slices in which there is something to find or something was found."""
    values = [row["dice"] for row in rows if row["dice"] is not None]
    return float(np.mean(values)) if values else None


def correlation(rows: Sequence[dict], name: str) -> float | None:
    """Pearson's, of a slice's Dice and its uncertainty; None for fewer than three slices or no spread."""
    pairs = np.array([(row["dice"], row[name]) for row in rows if row["dice"] is not None])
    if len(pairs) < 3 or min(np.ptp(pairs, axis=0)) == 0:
        return None
    return float(np.corrcoef(pairs.T)[0, 1])
