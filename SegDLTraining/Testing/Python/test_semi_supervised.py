"""Boxes, pseudo-labels and the mean teacher: hand examples and invariances of the specification."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from SegDLEngine.errors import InputError
from SegDLTrainingLib.semi_supervised.boxes import (
    DICTIONARY_MARGIN,
    QUERY_MARGIN,
    SliceBox,
    cut_patch,
    largest_components,
    slice_boxes,
)
from SegDLTrainingLib.semi_supervised.mean_teacher import (
    MeanTeacher,
    consistency,
    ramp_up,
    semi_supervised_loss,
)
from SegDLTrainingLib.semi_supervised.pseudo_labels import (
    assign_best,
    assign_best_two,
    cosine_similarity,
    pooled_features,
    similarity_histogram,
)
from SegDLTrainingLib.semi_supervised.settings import SemiSupervisedSettings


def test_the_report_s_numbers_are_the_defaults():
    """Specification, section 4(g): patches, boxes, the second rule, the teacher."""
    own = SemiSupervisedSettings()
    assert (own.patch, own.padded, own.dictionary, own.queries) == (68, 72, 120, 32)
    assert (own.dictionary_margin, own.query_margin) == (DICTIONARY_MARGIN, QUERY_MARGIN) == (10, 15)
    assert (own.rule, own.lowest, own.highest) == ("best", 0.87, 0.96)
    assert (own.teacher_decay, own.ramp_up_epochs) == (0.99, 5.0)


@pytest.mark.parametrize("margin", [0, DICTIONARY_MARGIN, QUERY_MARGIN])
def test_boxes_hold_the_mask_and_stay_in_the_image(margin):
    mask = np.zeros((4, 60, 50), bool)
    mask[1, 3:20, 10:30] = True
    mask[2, 40:58, 44:50] = True
    boxes = list(slice_boxes(mask, margin))
    assert [box.k for box in boxes] == [1, 2]
    for box in boxes:
        inside = np.zeros_like(mask[0])
        inside[slice(*box.rows), slice(*box.columns)] = True
        assert (inside | ~mask[box.k]).all()
        rows = np.flatnonzero(mask[box.k].any(axis=1))
        assert rows[0] - box.rows[0] <= margin
        assert box.rows[1] - 1 - rows[-1] <= margin
        assert 0 <= box.columns[0] < box.columns[1] <= 50
    if margin == 15:
        assert boxes[0] == SliceBox(1, (0, 35), (0, 45))


def test_only_the_largest_components_stay():
    mask = np.zeros((3, 20, 20), bool)
    mask[0, 0:5, 0:5] = mask[1, 10:16, 10:16] = mask[2, 0:2, 18:20] = True
    kept = largest_components(mask, count=2)
    assert kept.sum() == 61
    assert not kept[2].any()


def test_a_patch_at_the_border_is_filled():
    plane = np.arange(25, dtype=np.float32).reshape(5, 5) + 1
    patch = cut_patch(plane, (0, 0), 4)
    assert patch[:2].sum() == 0
    assert patch[2:, 2:].tolist() == [[1, 2], [6, 7]]
    assert cut_patch(plane, (2, 2), 3).tolist() == plane[1:4, 1:4].tolist()


def test_a_query_of_the_dictionary_is_found_with_its_own_label():
    rng = np.random.default_rng(0)
    features = rng.random((6, 16))
    masks = rng.random((6, 4, 4)) > 0.5
    similarity = cosine_similarity(features, features)
    assert np.diagonal(similarity) == pytest.approx(1)
    found = assign_best(similarity, masks, 0.87, 1.0)
    assert found.queries.tolist() == list(range(6))
    assert np.array_equal(found.masks, masks.astype(np.float32))


def test_scaling_features_changes_nothing_and_a_zero_vector_is_like_nothing():
    rng = np.random.default_rng(1)
    queries, entries = rng.random((5, 8)), rng.random((7, 8))
    scaled = queries * rng.uniform(0.1, 9, (5, 1))
    assert np.allclose(cosine_similarity(queries, entries), cosine_similarity(scaled, entries))
    assert (cosine_similarity(np.zeros((1, 8)), entries) == 0).all()


def test_the_bounds_of_the_second_rule_are_inclusive():
    similarity = np.array([[0.87, 0.2], [0.3, 0.96], [0.869, 0.1], [0.961, 0.5]])
    masks = np.stack([np.zeros((2, 2)), np.ones((2, 2))])
    found = assign_best(similarity, masks)
    assert found.queries.tolist() == [0, 1]
    assert found.weights.tolist() == pytest.approx([0.87, 0.96])
    assert found.masks.mean(axis=(1, 2)).tolist() == [0, 1]


def test_the_first_rule_mixes_the_two_best_by_similarity():
    similarity = np.array([[0.95, 0.92, 0.1], [0.95, 0.90, 0.1]])
    masks = np.stack([np.ones((2, 2)), np.zeros((2, 2)), np.ones((2, 2))])
    found = assign_best_two(similarity, masks)
    assert found.queries.tolist() == [0]
    assert found.masks[0] == pytest.approx(0.95 / 1.87)
    assert found.weights[0] == pytest.approx(0.935)
    with pytest.raises(InputError, match="fewer than two"):
        assign_best_two(similarity[:, :1], masks[:1])


def test_features_are_averaged_over_the_patch():
    patches = np.random.default_rng(0).random((5, 3, 6, 6)).astype(np.float32)
    features = pooled_features(lambda batch: batch, patches, batch=2)
    assert features == pytest.approx(patches.mean(axis=(2, 3)))
    with pytest.raises(InputError, match="no patches"):
        pooled_features(lambda batch: batch, patches[:0])


def test_the_histogram_counts_every_query_once():
    counts, edges = similarity_histogram(np.array([[0.2, 0.9], [0.95, 0.1], [0.5, 0.5]]), bins=10)
    assert counts.sum() == 3
    assert edges[-1] == 1


def test_the_teacher_averages_at_first():
    """From 0, theta_t = t gives 0.5, 1.0, 1.5, 2.0, 2.5 after the steps 1 to 5 (specification, row 45)."""
    student = torch.nn.Linear(1, 1, bias=False)
    student.weight.data.fill_(0.0)
    teacher = MeanTeacher(student)
    seen = []
    for value in range(1, 6):
        student.weight.data.fill_(float(value))
        teacher.update(student)
        seen.append(teacher.network.weight.item())
    assert seen == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.5])
    assert not teacher.network.weight.requires_grad


def test_later_the_teacher_keeps_99_percent():
    student = torch.nn.Linear(1, 1, bias=False)
    teacher = MeanTeacher(student)
    teacher.count = 5000
    teacher.network.weight.data.fill_(1.0)
    student.weight.data.fill_(0.0)
    teacher.update(student)
    assert teacher.network.weight.item() == pytest.approx(0.99)


def test_the_teacher_takes_over_batch_norm_statistics():
    student = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    teacher = MeanTeacher(student)
    student.train()(torch.randn(4, 1, 8, 8) * 3 + 5)
    teacher.update(student)
    assert torch.equal(teacher.network[1].running_mean, student[1].running_mean)


def test_ramp_up_of_the_specification():
    values = [ramp_up(t, 4) for t in range(5)]
    assert values == pytest.approx([0.0067, 0.0601, 0.2865, 0.7316, 1], abs=5e-5)
    assert ramp_up(9, 4) == 1


def test_no_gradient_reaches_the_teacher():
    student = torch.full((2, 3), 0.5, requires_grad=True)
    teacher = torch.full((2, 3), 0.3, requires_grad=True)
    consistency(student, teacher).backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0


def test_pseudo_labels_count_by_their_similarity():
    one = torch.tensor(1.0)
    loss = semi_supervised_loss(one, torch.tensor([2.0, 4.0]), torch.tensor([1.0, 0.5]), one, 0.25, 0.5)
    assert loss.item() == pytest.approx(1 + 0.5 * 2 + 0.25)
