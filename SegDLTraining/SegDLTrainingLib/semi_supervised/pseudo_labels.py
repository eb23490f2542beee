"""Labels for unlabelled patches from the most similar labelled ones.

Patches are described by an encoder's features, averaged over the patch, and compared by the cosine of the
angle between these vectors.  The report has two rules; both are here.  ReLU features are not negative, so
similarities are high by construction: look at their histogram before trusting a threshold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from SegDLEngine.errors import InputError


@dataclass(frozen=True)
class PseudoLabels:
    """``masks`` (n, j, i) float32 in 0..1 and ``weights`` (n,) for the chosen queries, by number."""

    queries: np.ndarray
    masks: np.ndarray
    weights: np.ndarray


@torch.no_grad()
def pooled_features(
    encode: Callable[[torch.Tensor], torch.Tensor], patches: np.ndarray, batch: int = 32
) -> np.ndarray:
    """Global average of ``encode``'s feature maps for patches (n, C, j, i); (n, features) float32."""
    rows = []
    for start in range(0, len(patches), batch):
        maps = encode(torch.from_numpy(np.ascontiguousarray(patches[start : start + batch])))
        rows.append(maps.float().flatten(2).mean(dim=2).cpu().numpy())
    if not rows:
        raise InputError(
            "There are no patches to describe.", hint="Check that the coarse segmentation finds lesions."
        )
    return np.concatenate(rows)


def cosine_similarity(queries: np.ndarray, dictionary: np.ndarray) -> np.ndarray:
    """(queries, entries) cosines of (n, features) and (m, features); a zero vector is like nothing (0)."""
    return np.clip(_unit(queries) @ _unit(dictionary).T, -1, 1)


def assign_best(
    similarity: np.ndarray, masks: np.ndarray, lowest: float = 0.87, highest: float = 0.96
) -> PseudoLabels:
    """Report 003, 5.3.4: the best entry's mask where its similarity is within the bounds, both inclusive.

    The similarity is the weight.  Above ``highest`` a patch is nearly a copy and teaches nothing new.
    ``similarity`` (queries, entries), ``masks`` (entries, j, i).
    """
    best = similarity.argmax(axis=1)
    value = similarity[np.arange(len(similarity)), best]
    chosen = np.flatnonzero((value >= lowest) & (value <= highest))
    return PseudoLabels(chosen, masks[best[chosen]].astype(np.float32), value[chosen].astype(np.float32))


def assign_best_two(similarity: np.ndarray, masks: np.ndarray, lowest: float = 0.90) -> PseudoLabels:
    """Report 003, introduction: the two best masks' mean, weighted by similarity, where both are above.

    The result is soft; its weight is the mean of the two similarities.
    """
    if similarity.shape[1] < 2:
        raise InputError(
            "The dictionary has fewer than two patches.", hint="Add labelled patches, or use the rule 'best'."
        )
    order = np.argsort(-similarity, axis=1)[:, :2]
    values = np.take_along_axis(similarity, order, axis=1)
    chosen = np.flatnonzero((values > lowest).all(axis=1))
    pairs, weights = order[chosen], values[chosen]
    shares = weights / weights.sum(axis=1, keepdims=True)
    mixed = (masks[pairs] * shares[:, :, None, None]).sum(axis=1)
    return PseudoLabels(chosen, mixed.astype(np.float32), weights.mean(axis=1).astype(np.float32))


def similarity_histogram(
    similarity: np.ndarray, lowest: float = 1.0, bins: int = 50
) -> tuple[np.ndarray, np.ndarray]:
    """Counts and edges of the queries' best similarities, from the smallest or ``lowest`` up to 1."""
    best = similarity.max(axis=1)
    first = np.floor(20 * min(float(best.min()), lowest, 0.95)) / 20
    return np.histogram(best, bins=bins, range=(first, 1.0))


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
