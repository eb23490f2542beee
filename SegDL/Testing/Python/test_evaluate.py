"""Overlap, surface distances and lesion counts against hand examples and a brute-force oracle."""

from __future__ import annotations

import numpy as np
import pytest
from SegDLEngine.errors import InputError
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.measurement.evaluation import evaluate
from SegDLEngine.measurement.overlap import lesion_detection, overlap, soft_dice
from SegDLEngine.measurement.surface import boundary_dice, surface_distances, surface_metrics


def mask(shape, *boxes):
    array = np.zeros(shape, bool)
    for box in boxes:
        array[tuple(slice(*side) for side in box)] = True
    return array


def test_overlap_by_hand():
    reference = mask((1, 1, 10), ((0, 1), (0, 1), (0, 4)))
    prediction = mask((1, 1, 10), ((0, 1), (0, 1), (2, 8)))
    found = overlap(reference, prediction, voxel_ml=0.5)
    assert found["dice"] == pytest.approx(2 * 2 / (4 + 6))
    assert found["jaccard"] == pytest.approx(2 / 8)
    assert found["precision"] == pytest.approx(2 / 6)
    assert found["recall"] == pytest.approx(2 / 4)
    assert found["specificity"] == pytest.approx(2 / 6)
    assert (found["reference_ml"], found["prediction_ml"]) == (2.0, 3.0)
    assert found["volume_difference_ml"] == pytest.approx(1.0)
    assert found["volume_difference"] == pytest.approx(0.5)


def test_sensitivity_and_specificity_of_the_specification():
    """Row 32: two true positives, one false one, one missed, two true negatives; row 27: Jaccard 0.5."""
    reference = np.array([[[1, 1, 1, 0, 0, 0]]], bool)
    prediction = np.array([[[1, 1, 0, 1, 0, 0]]], bool)
    found = overlap(reference, prediction)
    assert found["recall"] == found["specificity"] == pytest.approx(2 / 3)
    assert (found["dice"], found["jaccard"]) == (pytest.approx(2 / 3), 0.5)


def test_soft_dice_by_hand():
    reference = np.array([[[1, 1, 0, 0]]], bool)
    probability = np.array([[[0.9, 0.8, 0.1, 0.4]]], np.float32)
    assert soft_dice(reference, probability) == pytest.approx(2 * 1.7 / (2 + 2.2))
    assert soft_dice(reference, reference.astype(np.float32)) == 1.0
    assert soft_dice(~reference & reference, np.zeros((1, 1, 4), np.float32)) == 1.0
    assert soft_dice(~reference & reference, probability) == 0.0


def test_boundary_dice_by_hand():
    """A block of 3x4x4 voxels has 4 inner ones; moved by one voxel along i."""
    first, second = (
        mask((5, 6, 7), ((1, 4), (1, 5), (1, 5))),
        mask((5, 6, 7), ((1, 4), (1, 5), (2, 6))),
    )
    assert boundary_dice(first, first) == 1.0
    # Of the 36 voxels in common, 2 are inner voxels of both, 2 of the first and 2 of the second only.
    assert boundary_dice(first, second) == pytest.approx(2 * (36 - 6) / (44 + 44))
    whole = np.ones((3, 3, 3), bool)
    centre = mask((3, 3, 3), ((1, 2), (1, 2), (1, 2)))
    assert boundary_dice(whole, centre) == 0.0
    assert boundary_dice(centre & ~whole, centre & ~whole) == 1.0
    assert boundary_dice(whole, centre & ~whole) == 0.0


def test_surface_distances_on_an_oblique_anisotropic_grid_are_those_in_space():
    angle = np.radians(25)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    tilt = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    grid = Grid((8, 9, 7), (0.8, 1.1, 3.0), (12.0, -40.0, 7.0), tuple((turn @ tilt).ravel()))
    generator = np.random.default_rng(3)
    reference, prediction = generator.random((2, 7, 9, 8)) > 0.97
    points = [grid.to_physical(np.argwhere(array)[:, ::-1]) for array in (reference, prediction)]
    distances = np.linalg.norm(points[0][:, None] - points[1][None], axis=2)
    there, back = surface_distances(reference, prediction, grid.spacing)
    np.testing.assert_allclose(there, distances.min(axis=1), atol=1e-4)
    np.testing.assert_allclose(back, distances.min(axis=0), atol=1e-4)


def test_two_empty_masks_agree():
    empty = np.zeros((2, 2, 2), bool)
    found = {**overlap(empty, empty), **surface_metrics(empty, empty, (1, 1, 1))}
    assert lesion_detection(empty, empty)["lesion_sensitivity"] == 1.0
    for name in ("dice", "jaccard", "precision", "recall", "specificity"):
        assert found[name] == 1.0
    assert (found["hd95_mm"], found["mean_surface_distance_mm"]) == (0.0, 0.0)
    assert found["volume_difference"] == 0.0


def test_one_empty_mask_has_no_distance_and_no_undefined_ratio():
    empty, full = np.zeros((2, 2, 2), bool), mask((2, 2, 2), ((0, 1), (0, 1), (0, 2)))
    missed = {**overlap(full, empty), **surface_metrics(full, empty, (1, 1, 1))}
    assert (missed["dice"], missed["recall"], missed["precision"]) == (0.0, 0.0, None)
    assert (missed["hd95_mm"], missed["volume_difference"]) == (None, -1.0)
    false = overlap(empty, full)
    assert (false["dice"], false["recall"], false["precision"]) == (0.0, None, 0.0)
    assert (false["specificity"], false["volume_difference"]) == (6 / 8, None)


def test_distance_of_two_voxels_counts_the_spacing_of_its_axis():
    for axis, expected in ((2, 3 * 0.5), (1, 3 * 2.0), (0, 3 * 4.0)):
        reference, prediction = np.zeros((6, 6, 6), bool), np.zeros((6, 6, 6), bool)
        place = [1, 1, 1]
        reference[tuple(place)] = True
        place[axis] += 3
        prediction[tuple(place)] = True
        found = surface_metrics(reference, prediction, (0.5, 2.0, 4.0))
        assert found["hd95_mm"] == pytest.approx(expected)
        assert found["mean_surface_distance_mm"] == pytest.approx(expected)


def test_hd95_takes_the_worse_direction():
    reference = mask((1, 1, 100), ((0, 1), (0, 1), (0, 1)))
    prediction = mask((1, 1, 100), ((0, 1), (0, 1), (0, 41)))
    found = surface_metrics(reference, prediction, (1, 1, 1))
    assert found["hd95_mm"] == pytest.approx(38.0)
    assert found["mean_surface_distance_mm"] == pytest.approx(sum(range(41)) / 42)


def test_surface_distances_equal_brute_force():
    generator = np.random.default_rng(5)
    spacing = np.array([0.7, 1.3, 3.0])
    reference, prediction = generator.random((2, 7, 8, 9)) > 0.6

    def surface(array):
        padded = np.pad(array, 1)
        points = []
        for k, j, i in np.argwhere(array):
            near = [
                padded[k + 1 + dk, j + 1 + dj, i + 1 + di]
                for dk, dj, di in ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1))
            ]
            if not all(near):
                points.append((i, j, k) * spacing)
        return np.array(points)

    first, second = surface(reference), surface(prediction)
    distances = np.linalg.norm(first[:, None] - second[None], axis=2)
    there, back = distances.min(axis=1), distances.min(axis=0)
    found = surface_metrics(reference, prediction, spacing)
    assert found["hd95_mm"] == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), abs=1e-4)
    assert found["mean_surface_distance_mm"] == pytest.approx(np.concatenate([there, back]).mean(), abs=1e-4)


def test_lesions_detected_missed_and_false():
    shape = (3, 10, 20)
    reference = mask(shape, ((0, 2), (0, 3), (0, 3)), ((0, 1), (6, 8), (0, 2)))
    prediction = mask(
        shape, ((1, 2), (2, 4), (2, 4)), ((0, 1), (0, 2), (10, 15)), ((2, 3), (9, 10), (19, 20))
    )
    assert lesion_detection(reference, prediction, voxel_ml=0.1) == {
        "reference_lesions": 2,
        "detected_lesions": 1,
        "missed_lesions": 1,
        "lesion_sensitivity": 0.5,
        "predicted_lesions": 3,
        "false_lesions": 2,
        "false_lesions_ml": pytest.approx(1.1),
    }


def test_each_label_has_its_row_and_chosen_labels_are_joined():
    grid = Grid((4, 1, 1), (1, 1, 1))
    reference = Image(np.array([[[0, 1, 2, 2]]], np.uint8), grid)
    prediction = Image(np.array([[[0, 1, 1, 3]]], np.uint8), grid)
    rows = evaluate(reference, prediction)
    assert [row["label"] for row in rows] == [1, 2, 3]
    assert [row["dice"] for row in rows] == [pytest.approx(2 / 3), 0.0, 0.0]
    (joined,) = evaluate(reference, prediction, reference_labels=[1, 2])
    assert (joined["label"], joined["dice"]) == (None, 1.0)
    (empty,) = evaluate(reference.with_array(np.zeros((1, 1, 4), np.uint8)), prediction, reference_labels=[7])
    assert (empty["dice"], empty["false_lesions"]) == (0.0, 1)


def test_a_prediction_on_another_grid_is_resampled_with_a_warning():
    reference = np.zeros((4, 8, 8), np.uint8)
    reference[1:3, 2:6, 2:6] = 1
    fine = reference.repeat(2, axis=1).repeat(2, axis=2)
    told = []
    (row,) = evaluate(
        Image(reference, Grid((8, 8, 4), (2, 2, 3), (10, 20, 30))),
        Image(fine, Grid((16, 16, 4), (1, 1, 3), (9.5, 19.5, 30))),
        warn=lambda code, text: told.append(code),
    )
    assert row["dice"] == 1.0
    assert told == ["grid"]


def test_images_that_do_not_meet_are_refused():
    array = np.ones((2, 2, 2), np.uint8)
    with pytest.raises(InputError, match="do not overlap in space"):
        evaluate(Image(array, Grid((2, 2, 2))), Image(array, Grid((2, 2, 2), origin=(500, 0, 0))))
