"""Labels from probabilities, and the rules that remove what is no lesion."""

from __future__ import annotations

import numpy as np
import pytest
from SegDLEngine.errors import ModelError
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.inference.postprocessing import (
    check_postprocessing,
    components,
    foreground,
    label_map,
    postprocess,
)

GRID = Grid((10, 8, 6), (2.0, 2.0, 5.0))


def labels(*boxes, value=1) -> Image:
    array = np.zeros(GRID.shape, np.uint8)
    for box in boxes:
        array[box] = value
    return Image(array, GRID)


FLAT = np.s_[0, 0:4, 0:4]
THICK = np.s_[2:4, 0:2, 0:2]
LARGE = np.s_[2:5, 4:8, 5:9]


def test_threshold_takes_the_level_itself():
    probability = np.array([[[[0.2, 0.5, 0.8]]]], np.float32)
    assert label_map(probability, [3], 0.5, "sigmoid").ravel().tolist() == [0, 3, 3]


def test_the_likeliest_label_wins():
    probability = np.array([[[[0.6, 0.7, 0.2, 0.5]]], [[[0.5, 0.9, 0.3, 0.5]]]], np.float32)
    assert label_map(probability, [1, 2], 0.5, "sigmoid").ravel().tolist() == [1, 2, 0, 1]


def test_softmax_classes_add_up_to_the_foreground():
    probability = np.array([[[[0.3, 0.1]]], [[[0.4, 0.2]]]], np.float32)
    assert foreground(probability, "softmax").ravel() == pytest.approx([0.7, 0.3])
    assert foreground(probability, "sigmoid").ravel() == pytest.approx([0.4, 0.2])
    assert label_map(probability, [1, 2], 0.5, "softmax").ravel().tolist() == [2, 0]


def test_several_softmax_classes_are_decided_by_argmax():
    generator = np.random.default_rng(0)
    logits = 3 * generator.standard_normal((5, 4, 5, 6))
    classes = np.exp(logits) / np.exp(logits).sum(axis=0)
    expected = np.array([0, 1, 2, 4, 9])[classes.argmax(axis=0)]
    found = label_map(classes[1:].astype(np.float32), [1, 2, 4, 9], 0.5, "softmax")
    np.testing.assert_array_equal(found, expected)
    bolder, shyer = (label_map(classes[1:], [1, 2, 4, 9], level, "softmax") > 0 for level in (0.2, 0.8))
    assert shyer.sum() < (expected > 0).sum() < bolder.sum()
    assert (shyer <= (expected > 0)).all() and ((expected > 0) <= bolder).all()


def test_sums_of_softmax_classes_stay_probabilities():
    generator = np.random.default_rng(0)
    classes = np.exp(9 * generator.standard_normal((4, 8, 16, 16))).astype(np.float32)
    classes /= classes.sum(axis=0)
    assert classes.sum(axis=0).max() > 1, "rounding alone does not exceed 1 here"
    assert foreground(classes, "softmax").max() == 1


def test_one_softmax_label_is_decided_by_its_threshold():
    probability = np.array([[[[0.69, 0.71]]]], np.float32)
    assert label_map(probability, [1], 0.7, "softmax").ravel().tolist() == [0, 1]


def test_a_component_needs_adjacent_slices():
    kept = components(labels(FLAT, THICK), {}, minimum_slices=2).array
    np.testing.assert_array_equal(kept, labels(THICK).array)
    # Two slices that do not touch are two components of one slice each.
    apart = labels(np.s_[0, 0:2, 0:2], np.s_[2, 0:2, 0:2])
    assert not components(apart, {}, minimum_slices=2).array.any()


def test_the_rule_of_the_report_keeps_the_largest():
    kept = components(labels(FLAT, THICK, LARGE), {}, minimum_slices=2, keep="largest").array
    np.testing.assert_array_equal(kept, labels(LARGE).array)


def test_the_largest_is_chosen_among_those_that_qualify():
    wide = np.s_[0, 0:8, 0:10]
    kept = components(labels(wide, THICK), {}, minimum_slices=2, keep="largest").array
    np.testing.assert_array_equal(kept, labels(THICK).array)


def test_volume_counts_in_millilitres():
    # THICK: 8 voxels of 20 mm3 are 0.16 ml, LARGE: 48 are 0.96 ml.
    assert components(labels(THICK, LARGE), {}, minimum_ml=0.16).array.sum() == 8 + 48
    assert components(labels(THICK, LARGE), {}, minimum_ml=0.17).array.sum() == 48
    assert components(labels(THICK, LARGE), {}, minimum_ml=0.97).array.sum() == 0


@pytest.mark.parametrize(("connectivity", "left"), [(26, 2), (6, 0)])
def test_connectivity(connectivity, left):
    diagonal = labels(np.s_[0, 0, 0], np.s_[1, 1, 1])
    assert components(diagonal, {}, minimum_slices=2, connectivity=connectivity).array.sum() == left


def test_labels_are_judged_one_by_one():
    both = labels(LARGE)
    both.array[THICK] = 7
    kept = components(both, {}, keep="largest").array
    np.testing.assert_array_equal(kept, both.array)


def test_inside_mask_and_order_of_steps():
    mask = Image(np.zeros(GRID.shape, np.uint8), GRID)
    mask.array[:, :, :6] = 1
    steps = [{"step": "inside_mask", "mask": "lungs"}, {"step": "components", "keep": "largest"}]
    kept = postprocess(labels(LARGE, FLAT), {"lungs": mask}, steps).array
    np.testing.assert_array_equal(kept, labels(FLAT).array)


def test_nothing_in_nothing_out():
    assert not components(labels(), {}, minimum_slices=2, keep="largest").array.any()


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"step": "shrink"}, "shrink"),
        ({}, "None"),
        ({"step": "components", "size": 3}, "size"),
        ({"step": "inside_mask"}, "mask"),
    ],
)
def test_wrong_steps_are_refused_before_work(entry, text):
    with pytest.raises(ModelError, match=text):
        check_postprocessing([entry])


def test_wrong_values_are_named():
    with pytest.raises(ModelError, match="smallest"):
        components(labels(THICK), {}, keep="smallest")
    with pytest.raises(ModelError, match="connectivity 8"):
        components(labels(THICK), {}, connectivity=8)
    with pytest.raises(ModelError, match="lungs"):
        postprocess(labels(THICK), {}, [{"step": "inside_mask", "mask": "lungs"}])
