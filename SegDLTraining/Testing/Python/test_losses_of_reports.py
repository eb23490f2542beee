"""Jaccard, focal with log Dice and Hausdorff losses: reference numbers, traps of the formulas, gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from SegDLEngine.errors import InputError
from SegDLTrainingLib.losses.hausdorff import distance_to_border
from SegDLTrainingLib.losses.jaccard import jaccard_distance
from SegDLTrainingLib.losses.registry import LOSSES, build_loss


def _logits(probabilities: torch.Tensor) -> torch.Tensor:
    return torch.logit(probabilities)


def test_all_losses_of_the_reports_have_a_name():
    build_loss({"name": "jaccard"}, "softmax")
    wanted = {"dice", "cross_entropy", "focal", "sum", "privileged_dice"}
    assert wanted | {"jaccard", "focal_log_dice", "hausdorff"} <= set(LOSSES)


@pytest.mark.parametrize("form", ["squares", "extremes"])
def test_identical_binary_maps_give_0(form):
    maps = torch.zeros(1, 1, 10, 20)
    maps[..., :10, :10] = 1
    assert jaccard_distance(maps, maps, form, clamp=0.0).item() == 0


def test_jaccard_and_dice_by_hand():
    first = torch.tensor([1.0, 1, 1, 0, 0, 0]).view(1, 1, 6)
    second = torch.tensor([1.0, 1, 0, 1, 0, 0]).view(1, 1, 6)
    assert 1 - jaccard_distance(first, second, clamp=0.0).item() == pytest.approx(0.5)
    dice = build_loss({"name": "dice", "squared": True, "smooth": 0.0}, "sigmoid")
    assert 1 - dice(1e4 * (first - 0.5), second, 0).item() == pytest.approx(2 / 3)


def test_the_report_s_loss_adds_up_all_classes():
    """Reference numbers of the specification, section 3(d)."""
    state = np.random.RandomState(0)
    logits = torch.from_numpy(state.randn(50, 5))
    truth = torch.nn.functional.one_hot(torch.from_numpy(state.randint(0, 5, 50)), 5)
    as_map = logits.T[None], truth.T[None].double()
    expected = [0.820005, 0.805859, 0.798763, 0.837647, 0.874961]
    total = build_loss({"name": "jaccard"}, "softmax")(*as_map, 0)
    mean = build_loss({"name": "jaccard", "total": "mean"}, "softmax")(*as_map, 0)
    assert total.item() == pytest.approx(sum(expected), abs=5e-6)
    assert mean.item() == pytest.approx(0.827447, abs=1e-6)


def test_an_absent_class_adds_1_and_teaches_nothing():
    logits = torch.randn(1, 3, 20, requires_grad=True)
    target = torch.zeros(1, 3, 20)
    target[:, 0] = 1
    predicted = logits.softmax(dim=1)
    absent = jaccard_distance(predicted[:, 1:], target[:, 1:])
    assert absent.item() == pytest.approx(2)
    absent.backward()
    assert logits.grad.abs().max() == pytest.approx(0, abs=1e-7)


def test_focal_and_log_dice_of_report_004():
    """400 ones of 4096, p = 0.9 on the first 300, else 0.1: specification, section 5(d)."""
    truth = torch.zeros(1, 1, 64, 64, dtype=torch.float64)
    truth.view(-1)[:400] = 1
    predicted = torch.full_like(truth, 0.1)
    predicted.view(-1)[:300] = 0.9
    logits = _logits(predicted)

    def value(**entry):
        return build_loss(entry, "sigmoid")(logits, truth, 0).item()

    assert 1 - value(name="dice", per="batch", smooth=100.0) == pytest.approx(0.5741127, abs=1e-6)
    assert 1 - value(name="dice", per="batch", smooth=0.0) == pytest.approx(0.5335366, abs=1e-6)
    assert value(name="focal", gamma=1.0) == pytest.approx(0.0608727, abs=1e-6)
    assert value(name="focal_log_dice") == pytest.approx(0.1596841, abs=1e-6)
    assert value(name="focal_log_dice", weights=[0.0, 1.0], smooth=100.0) == pytest.approx(
        0.5549295, abs=1e-6
    )


def test_focal_of_the_library_that_report_004_uses():
    """Its documented example, one value a row: specification, row 49."""
    logits, truth = _logits(torch.tensor([[0.6, 0.4], [0.4, 0.6]])), torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    focal = build_loss({"name": "focal", "gamma": 2.0}, "sigmoid")
    found = [focal(logits[row].view(1, 1, 2), truth[row].view(1, 1, 2), 0).item() for row in (0, 1)]
    assert found == pytest.approx([0.329865, 0.205798], abs=1e-6)


@pytest.mark.parametrize("probability, expected", [(0.9, 0.01054), (0.1, 2.072)])
def test_focal_counts_hard_voxels_more(probability, expected):
    """Report 004's text exchanges the factors: 0.0948 for the easy voxel and 0.230 for the hard one."""
    logits = _logits(torch.full((1, 1, 1), probability))
    value = build_loss({"name": "focal", "gamma": 1.0}, "sigmoid")(logits, torch.ones(1, 1, 1), 0)
    assert value.item() == pytest.approx(expected, rel=1e-3)


def test_alpha_weighs_foreground_and_background():
    logits, truth = torch.zeros(1, 1, 8), torch.zeros(1, 1, 8)
    truth[..., :2] = 1
    entry = {"name": "focal_log_dice", "weights": [1.0, 0.0], "gamma": 0.0, "alpha": 0.25}
    value = build_loss(entry, "sigmoid")(logits, truth, 0).item()
    assert value == pytest.approx(np.log(2) * (0.25 * 2 + 0.75 * 6) / 8, abs=1e-6)


def test_distances_of_a_bar():
    mask = np.zeros((1, 1, 1, 6), bool)
    mask[..., 2:4] = True
    assert distance_to_border(mask)[0, 0, 0].tolist() == [2, 1, 1, 1, 1, 2]
    assert not distance_to_border(np.zeros((1, 1, 4, 4), bool)).any()


def test_hausdorff_is_never_negative_and_grows_with_the_distance():
    def value(shift):
        truth = torch.zeros(1, 1, 24, 24)
        truth[..., 4:8, 4:8] = 1
        predicted = torch.full((1, 1, 24, 24), 0.01)
        predicted[..., 4 + shift : 8 + shift, 4 + shift : 8 + shift] = 0.99
        return build_loss({"name": "hausdorff"}, "sigmoid")(_logits(predicted), truth, 0).item()

    values = [value(shift) for shift in (0, 2, 5, 9)]
    assert values == sorted(values)
    assert values[0] >= 0
    assert values[3] > 10 * values[1]


@pytest.mark.parametrize("name", ["jaccard", "focal_log_dice", "hausdorff"])
@pytest.mark.parametrize("activation, outputs", [("sigmoid", 1), ("softmax", 3)])
def test_gradients_are_finite_with_empty_and_full_masks(name, activation, outputs):
    for fill in (0.0, 1.0):
        target = torch.zeros(2, outputs, 8, 8, 8)
        target[:, -1] = fill
        if activation == "softmax":
            target[:, 0] = 1 - fill
        logits = torch.randn(2, outputs, 8, 8, 8, requires_grad=True)
        build_loss({"name": name}, activation)(logits, target, 0).backward()
        assert torch.isfinite(logits.grad).all()


def test_a_wrong_choice_is_named():
    with pytest.raises(InputError, match="form 'cubes'"):
        build_loss({"name": "jaccard", "form": "cubes"}, "softmax")
