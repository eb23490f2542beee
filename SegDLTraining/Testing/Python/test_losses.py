"""Losses against numbers worked out by hand or printed in the specification."""

import math

import pytest
import torch
from SegDLEngine.errors import InputError
from SegDLTrainingLib.losses.dice import soft_dice
from SegDLTrainingLib.losses.registry import build_loss
from SegDLTrainingLib.targets import target_maps

P, Y = torch.tensor([0.9, 0.8, 0.1, 0.4]).view(1, 1, 4), torch.tensor([1.0, 1.0, 0.0, 0.0]).view(1, 1, 4)


def test_soft_dice_by_hand():
    probability = torch.tensor([[[0.5, 1.0, 0.0, 0.25]]])
    target = torch.tensor([[[1.0, 1.0, 0.0, 0.0]]])
    assert float(soft_dice(probability, target)) == pytest.approx((2 * 1.5 + 1) / (1.75 + 2 + 1))


def test_dice_per_sample_lets_small_and_empty_slices_count():
    probability = torch.tensor([[[1.0, 1.0, 1.0, 1.0]], [[0.0, 0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0, 1.0]]])
    target = torch.tensor([[[1.0, 1.0, 1.0, 1.0]], [[0.0, 0.0, 1.0, 0.0]], [[0.0, 0.0, 0.0, 0.0]]])
    by_sample = float(soft_dice(probability, target, per="sample"))
    assert by_sample == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert float(soft_dice(probability, target)) == pytest.approx((2 * 4 + 1) / (5 + 5 + 1))


@pytest.mark.parametrize(("squared", "expected"), [(False, 0.153846), (True, 0.047619)])
def test_dice_of_report_000(squared, expected):
    loss = build_loss({"name": "dice", "squared": squared}, "sigmoid")
    assert float(loss(torch.logit(P), Y, 0)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("squared", "expected"), [(True, 0.61832), (False, 0.6875)])
def test_dice_of_report_000_without_a_tumour(squared, expected):
    loss = build_loss({"name": "dice", "squared": squared}, "sigmoid")
    assert float(loss(torch.logit(P), torch.zeros_like(Y), 0)) == pytest.approx(expected, abs=1e-5)


def test_focal_of_report_000_and_its_sum_with_dice():
    focal = build_loss({"name": "focal", "gamma": 2}, "sigmoid")
    assert float(focal(torch.logit(P), Y, 0)) == pytest.approx(0.0231913, abs=1e-6)
    terms = [{"name": "dice", "squared": True}, {"name": "focal", "gamma": 2, "clamp": 1e-3, "weight": 0.5}]
    both = build_loss({"name": "sum", "terms": terms}, "sigmoid")
    assert float(both(torch.logit(P), Y, 0)) == pytest.approx(0.047619 + 0.5 * 0.0231913, abs=1e-6)


def test_focal_without_focus_is_cross_entropy_for_both_activations():
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 3, 5, 5), torch.randint(0, 3, (2, 5, 5), dtype=torch.uint8)
    for activation, values in (("softmax", [1, 2]), ("sigmoid", [0, 1, 2])):
        target = target_maps(labels, values, activation)
        focal = build_loss({"name": "focal", "gamma": 0}, activation)(logits, target, 0)
        plain = build_loss({"name": "cross_entropy"}, activation)(logits, target, 0)
        assert float(focal) == pytest.approx(float(plain), rel=1e-5)
    expected = torch.nn.functional.cross_entropy(logits, labels.long())
    weighted = build_loss({"name": "cross_entropy", "weights": [1, 0, 0]}, "softmax")
    target = target_maps(labels, [1, 2], "softmax")
    assert float(build_loss({"name": "cross_entropy"}, "softmax")(logits, target, 0)) == pytest.approx(
        float(expected), rel=1e-5
    )
    background = -(torch.log_softmax(logits, 1)[:, 0] * (labels == 0)).mean()
    assert float(weighted(logits, target, 0)) == pytest.approx(float(background), rel=1e-5)


def test_softmax_dice_leaves_the_background_out_unless_told():
    labels = torch.zeros(1, 4, dtype=torch.uint8)
    labels[0, :2] = 7
    target = target_maps(labels, [7], "softmax")
    assert target[0].tolist() == [[0, 0, 1, 1], [1, 1, 0, 0]]
    logits = torch.tensor([[[0.0, 0.0, 0.0, 0.0], [50.0, 50.0, 50.0, 50.0]]])
    without = build_loss({"name": "dice", "smooth": 0}, "softmax")(logits, target, 0)
    assert float(without) == pytest.approx(1 - 2 * 2 / (4 + 2), abs=1e-6)
    with_it = build_loss(
        {"name": "dice", "smooth": 0, "background": True, "per": "sample and label"}, "softmax"
    )
    assert float(with_it(logits, target, 0)) == pytest.approx(1 - (2 / 3 + 0) / 2, abs=1e-6)


def test_privileged_dice_by_hand_and_its_weights_over_the_epochs():
    logits, target = torch.zeros(1, 1, 2, 2), torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    dice, entropy = (2 * 0.5 + 1) / (2 + 1 + 1), math.log(2)
    loss = build_loss({}, "sigmoid")
    assert float(loss(logits, target, 0)) == pytest.approx(0.75 * (1 - dice) + 0.25 * entropy)
    assert float(loss(logits, target, 49)) == pytest.approx(0.75 * (1 - dice) + 0.25 * entropy)
    assert float(loss(logits, target, 50)) == pytest.approx(0.5 * (1 - dice) + 0.5 * entropy)


def test_empty_slices_have_a_finite_loss_whose_gradient_lowers_the_prediction():
    logits = torch.full((2, 1, 8, 8), 1.5, requires_grad=True)
    loss = build_loss({"name": "cross_entropy"}, "sigmoid")(logits, torch.zeros(2, 1, 8, 8), 0)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.allclose(logits.grad, torch.sigmoid(torch.tensor(1.5)) / 128)
    certain = build_loss({}, "sigmoid")(torch.full((1, 1, 4, 4), -60.0), torch.zeros(1, 1, 4, 4), 0)
    assert float(certain) == pytest.approx(0.0, abs=1e-6)


def test_targets_leave_out_the_margin_of_unpadded_networks():
    labels = torch.arange(36, dtype=torch.uint8).view(1, 6, 6)
    assert target_maps(labels, [14, 15], "sigmoid", margin=2).tolist() == [
        [[[1, 0], [0, 0]], [[0, 1], [0, 0]]]
    ]


def test_unknown_losses_and_constants_are_named():
    with pytest.raises(InputError, match="'hinge' is unknown"):
        build_loss({"name": "hinge"}, "sigmoid")
    with pytest.raises(InputError, match=r"'dice'.*smoothing"):
        build_loss({"name": "dice", "smoothing": 1}, "sigmoid")
    with pytest.raises(InputError, match="per 'voxel'"):
        build_loss({"name": "dice", "per": "voxel"}, "sigmoid")
