"""Overlap of two masks: Dice, Jaccard, precision, recall, specificity, volumes and lesions found.

Masks are bool arrays (k, j, i) of one grid.  Two empty masks agree: their ratios are 1.  A ratio without a
denominator otherwise, such as the precision of an empty prediction, is None.  Recall is sensitivity.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def overlap(reference: np.ndarray, prediction: np.ndarray, voxel_ml: float = 1.0) -> dict[str, float | None]:
    """Overlap figures; ``voxel_ml`` is the volume of a voxel, volumes and their difference are in ml.

    ``volume_difference`` is relative to the reference: 0.1 means 10 % more was predicted.
    """
    true = int(np.count_nonzero(reference & prediction))
    referred = int(np.count_nonzero(reference))
    predicted = int(np.count_nonzero(prediction))
    outside = reference.size - referred
    both_empty = referred == 0 and predicted == 0

    def ratio(part: float, whole: float) -> float | None:
        return 1.0 if both_empty else (part / whole if whole else None)

    return {
        "dice": ratio(2 * true, referred + predicted),
        "jaccard": ratio(true, referred + predicted - true),
        "precision": ratio(true, predicted),
        "recall": ratio(true, referred),
        "specificity": ratio(outside - (predicted - true), outside),
        "reference_ml": referred * voxel_ml,
        "prediction_ml": predicted * voxel_ml,
        "volume_difference_ml": (predicted - referred) * voxel_ml,
        "volume_difference": 0.0 if both_empty else ((predicted - referred) / referred if referred else None),
    }


def soft_dice(reference: np.ndarray, probability: np.ndarray) -> float:
    """2 sum(y p) / (sum y + sum p) of a mask y and probabilities p (0..1); 1 where both are empty.

    The denominator has no squares and nothing is added to smooth it (report 000, section 3.3).
    """
    shared = float(probability[reference].sum(dtype=np.float64))
    total = float(np.count_nonzero(reference)) + float(probability.sum(dtype=np.float64))
    return 2 * shared / total if total else 1.0


def lesion_detection(reference: np.ndarray, prediction: np.ndarray, voxel_ml: float = 1.0) -> dict[str, Any]:
    """Lesion-wise counts; a lesion is a component in which voxels touch by side, edge or corner.

    A reference lesion is detected, and a predicted one is true, when they share at least one voxel: detected
    are the true positives, missed the false negatives, false the false positives.
    """
    import cc3d

    reference_labels, lesions = cc3d.connected_components(
        np.ascontiguousarray(reference), connectivity=26, return_N=True
    )
    predicted_labels, predicted = cc3d.connected_components(
        np.ascontiguousarray(prediction), connectivity=26, return_N=True
    )
    shared = reference & prediction
    detected = len(np.unique(reference_labels[shared]))
    true = np.unique(predicted_labels[shared])
    sizes = np.bincount(predicted_labels.ravel(), minlength=int(predicted) + 1)
    false_voxels = int(sizes[1:].sum() - sizes[true].sum())
    return {
        "reference_lesions": int(lesions),
        "detected_lesions": detected,
        "missed_lesions": int(lesions) - detected,
        "lesion_sensitivity": detected / int(lesions) if lesions else (None if predicted else 1.0),
        "predicted_lesions": int(predicted),
        "false_lesions": int(predicted) - len(true),
        "false_lesions_ml": false_voxels * voxel_ml,
    }
