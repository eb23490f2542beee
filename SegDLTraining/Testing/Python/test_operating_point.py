"""The choice of the threshold from probabilities that are known."""

import numpy as np
import pytest
from SegDLTrainingLib.operating_point import best_threshold, operating_points
from SegDLTrainingLib.volumes import PreparedVolume

CARD = {
    "preprocessing": [{"step": "canonical", "spacing": [2.0, 2.0, 3.0]}],
    "inference": {"mode": "slices", "context": [0], "batch": 4, "activation": "sigmoid", "threshold": 0.5},
    "postprocessing": [
        {"step": "inside_mask", "mask": "lungs"},
        {"step": "components", "minimum_slices": 2, "minimum_ml": 0.3},
    ],
}


def volume() -> PreparedVolume:
    """A tumour of grey 0.65, a vessel of 0.45 and a speck of 0.9 that is too small to count."""
    image = np.full((10, 24, 24), 0.05, np.float16)
    mask = np.zeros(image.shape, np.uint8)
    mask[2:7, 3:10, 3:10] = 1
    image[mask > 0] = 0.65
    image[2:8, 15:20, 15:20] = 0.45
    image[9, 0, 0] = 0.9
    return PreparedVolume(image[None], mask, (2.0, 2.0, 3.0))


def test_counts_tumours_and_false_components_at_each_threshold():
    case = volume()
    rows = {row["threshold"]: row for row in operating_points([case.image[0]], [case], CARD)}
    assert (rows[0.3]["found"], rows[0.3]["right"], rows[0.3]["wrong"]) == (1, 1, 1)
    assert rows[0.3]["false_ml"] == pytest.approx(6 * 25 * 0.012)
    assert (rows[0.6]["found"], rows[0.6]["wrong"], rows[0.6]["dice"]) == (1, 0, 1.0)
    assert (rows[0.8]["found"], rows[0.8]["right"], rows[0.8]["wrong"]) == (0, 0, 0)
    assert rows[0.8]["f1"] == 0 and rows[0.6]["f1"] == 1


def test_a_threshold_counts_from_its_value_on_and_tumours_may_touch_at_a_corner():
    """0.75 is found at a threshold of 0.75; two blocks that share a corner are one tumour."""
    image, mask = np.zeros((6, 8, 8), np.float32), np.zeros((6, 8, 8), np.uint8)
    mask[0:3, 0:4, 0:4] = mask[3:6, 4:8, 4:8] = 1
    image[mask > 0] = 0.75
    case = PreparedVolume(image[None].astype(np.float16), mask, (2.0, 2.0, 3.0))
    (row,) = operating_points([image], [case], CARD, [0.75])
    assert (row["tumours"], row["found"], row["right"], row["wrong"]) == (1, 1, 1, 0)
    assert row["f1"] == row["dice"] == 1


def test_best_threshold_is_the_middle_of_the_best():
    case = volume()
    assert best_threshold(operating_points([case.image[0]], [case], CARD)) == 0.6
    assert best_threshold([{"threshold": t, "f1": f} for t, f in ((0.2, 0.5), (0.4, 0.8), (0.6, 0.7))]) == 0.4
