"""Every loss against its formula, written again in numpy; gradients against finite differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt
from SegDLEngine.errors import InputError
from SegDLTrainingLib.losses.dice import soft_dice
from SegDLTrainingLib.losses.registry import build_loss

Array = np.ndarray
SHAPE = (2, 3, 4, 5)


def probabilities(logits: Array, activation: str) -> Array:
    if activation == "sigmoid":
        return 1 / (1 + np.exp(-logits))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def foreground(maps: Array, activation: str) -> Array:
    return maps[:, 1:] if activation == "softmax" else maps


def dice(p: Array, t: Array, smooth: float, squared: bool) -> float:
    size = (p**2 + t**2).sum() if squared else p.sum() + t.sum()
    return (2 * (p * t).sum() + smooth) / (size + smooth)


def mean_dice(p: Array, t: Array, per: str, smooth: float = 1.0, squared: bool = False) -> float:
    rows, outputs = range(p.shape[0]), range(p.shape[1])
    parts = {
        "batch": [np.s_[:, :]],
        "sample": [np.s_[row, :] for row in rows],
        "label": [np.s_[:, output] for output in outputs],
        "sample and label": [np.s_[row, output] for row in rows for output in outputs],
    }[per]
    return float(np.mean([dice(p[part], t[part], smooth, squared) for part in parts]))


def entropy(p: Array, t: Array, activation: str, weights: Array | None = None) -> float:
    w = np.ones(p.shape[1]) if weights is None else weights
    w = w.reshape(1, -1, *(1,) * (p.ndim - 2))
    if activation == "softmax":
        return float(-(w * t * np.log(p)).sum(axis=1).mean())
    return float(-(w * (t * np.log(p) + (1 - t) * np.log(1 - p))).mean())


def focal(p: Array, t: Array, activation: str, gamma: float, clamp: float = 0.0, weights=None) -> float:
    p = np.clip(p, clamp, 1 - clamp)
    w = np.ones(p.shape[1]) if weights is None else np.asarray(weights)
    w = w.reshape(1, -1, *(1,) * (p.ndim - 2))
    right = -w * t * (1 - p) ** gamma * np.log(p)
    if activation == "softmax":
        return float(right.sum(axis=1).mean())
    return float((right - w * (1 - t) * p**gamma * np.log(1 - p)).mean())


def jaccard(p: Array, t: Array) -> list[float]:
    values = []
    for one, other in zip(p.swapaxes(0, 1), t.swapaxes(0, 1), strict=True):
        shared = (one * other).sum()
        values.append(1 - shared / ((one**2).sum() + (other**2).sum() - shared))
    return values


def extremes(p: Array, t: Array) -> list[float]:
    pairs = zip(p.swapaxes(0, 1), t.swapaxes(0, 1), strict=True)
    return [1 - np.minimum(a, b).sum() / np.maximum(a, b).sum() for a, b in pairs]


def hausdorff(p: Array, t: Array, power: float, threshold: float) -> float:
    """Karimi and Salcudean 2020, equation 8: mean of (p - t)^2 (d_p^a + d_t^a), distances to the border."""

    def distances(maps: Array) -> Array:
        field = np.zeros(maps.shape)
        for place in np.ndindex(maps.shape[:2]):
            mask = maps[place] > threshold
            if mask.any() and not mask.all():
                field[place] = np.where(mask, distance_transform_edt(mask), distance_transform_edt(~mask))
        return field

    return float(((p - t) ** 2 * (distances(p) ** power + distances(t) ** power)).mean())


def case(activation: str, seed: int, truth: str = "random") -> tuple[Array, Array]:
    """Logits and target maps (N, outputs, j, i), two rows of three outputs; ``truth`` names what is there."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, (SHAPE[0], *SHAPE[2:]))
    if truth == "background":
        labels[:] = 0
    elif truth == "one voxel":
        labels[:] = 0
        labels[0, 1, 2] = 2
    elif truth == "no first label":
        labels[labels == 1] = 0
    values = (0, 1, 2) if activation == "softmax" else (1, 2, 3)
    target = np.stack([labels == value for value in values], axis=1).astype(float)
    if truth == "soft":
        target = rng.dirichlet(np.ones(3), (SHAPE[0], *SHAPE[2:])).transpose(0, 3, 1, 2)
    return rng.normal(0, 2, SHAPE), target


BOTH = ("sigmoid", "softmax")
WEIGHTS = [0.2, 1.0, 3.0]
FORMULAS: list[tuple[dict, Callable[[Array, Array, str], float], tuple[str, ...]]] = [
    *[
        ({"name": "dice", "per": per, "squared": squared, "smooth": smooth},
         lambda p, t, a, per=per, squared=squared, smooth=smooth:
            1 - mean_dice(foreground(p, a), foreground(t, a), per, smooth, squared), BOTH)
        for per in ("batch", "sample", "label", "sample and label")
        for squared, smooth in ((False, 1.0), (True, 2.5))
    ],
    ({"name": "dice"}, lambda p, t, a: 1 - mean_dice(foreground(p, a), foreground(t, a), "sample"), BOTH),
    ({"name": "dice", "background": True}, lambda p, t, a: 1 - mean_dice(p, t, "sample"), BOTH),
    ({"name": "cross_entropy"}, lambda p, t, a: entropy(p, t, a), BOTH),
    ({"name": "cross_entropy", "weights": WEIGHTS},
     lambda p, t, a: entropy(p, t, a, np.array(WEIGHTS)), BOTH),
    ({"name": "focal"}, lambda p, t, a: focal(p, t, a, 2.0), BOTH),
    ({"name": "focal", "clamp": 0.1, "gamma": 3.0}, lambda p, t, a: focal(p, t, a, 3.0, 0.1), BOTH),
    ({"name": "focal", "weights": WEIGHTS}, lambda p, t, a: focal(p, t, a, 2.0, weights=WEIGHTS), BOTH),
    ({"name": "jaccard"}, lambda p, t, a: sum(jaccard(p, t)), BOTH),
    ({"name": "jaccard", "total": "mean", "background": False},
     lambda p, t, a: float(np.mean(jaccard(foreground(p, a), foreground(t, a)))), BOTH),
    ({"name": "jaccard", "form": "extremes"}, lambda p, t, a: sum(extremes(p, t)), BOTH),
    ({"name": "focal_log_dice"},
     lambda p, t, a: 0.8 * focal(p, t, a, 1.0)
        - 0.2 * np.log(mean_dice(foreground(p, a), foreground(t, a), "batch", 100.0)), BOTH),
    ({"name": "focal_log_dice", "alpha": 0.25, "weights": [1.0, 0.0], "gamma": 2.0},
     lambda p, t, a: float(-(0.25 * t * (1 - p) ** 2 * np.log(p)
                             + 0.75 * (1 - t) * p**2 * np.log(1 - p)).mean()), ("sigmoid",)),
    ({"name": "hausdorff"}, lambda p, t, a: hausdorff(foreground(p, a), foreground(t, a), 2.0, 0.5), BOTH),
    ({"name": "hausdorff", "power": 1.0, "threshold": 0.3},
     lambda p, t, a: hausdorff(foreground(p, a), foreground(t, a), 1.0, 0.3), BOTH),
    ({"name": "privileged_dice"},
     lambda p, t, a: 0.75 * (1 - mean_dice(foreground(p, a), foreground(t, a), "batch"))
        + 0.25 * entropy(p, t, a), BOTH),
    ({"name": "privileged_dice", "per_slice": True, "privileged_epochs": 0},
     lambda p, t, a: 0.5 * (1 - mean_dice(foreground(p, a), foreground(t, a), "sample"))
        + 0.5 * entropy(p, t, a), BOTH),
    ({"name": "mean_squared_error"}, lambda p, t, a: float(((p - t) ** 2).mean()), BOTH),
]  # fmt: skip
CASES = [
    pytest.param(entry, formula, activation, id=f"{number}-{entry['name']}-{activation}")
    for number, (entry, formula, activations) in enumerate(FORMULAS)
    for activation in activations
]


@pytest.mark.parametrize("truth", ["random", "background", "one voxel", "no first label", "soft"])
@pytest.mark.parametrize(("entry", "formula", "activation"), CASES)
def test_value_and_gradient(entry, formula, activation, truth):
    logits, target = case(activation, 3, truth)
    tensor = torch.from_numpy(logits).requires_grad_()
    value = build_loss(entry, activation)(tensor, torch.from_numpy(target), 0)
    expected = formula(probabilities(logits, activation), target, activation)
    assert value.item() == pytest.approx(expected, rel=1e-6)
    value.backward()
    rng = np.random.default_rng(0)
    for place in [tuple(rng.integers(0, length) for length in SHAPE) for _ in range(4)] + [(0, 2, 1, 2)]:
        ends = []
        for step in (1e-5, -1e-5):
            moved = logits.copy()
            moved[place] += step
            ends.append(formula(probabilities(moved, activation), target, activation))
        assert tensor.grad[place].item() == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=2e-8, rel=1e-5)


@pytest.mark.parametrize("smooth", [0.0, 1.0])
def test_nothing_there_and_nothing_found_is_a_dice_of_1(smooth):
    """Also where the probabilities have become 0 and nothing is added: no division by 0."""
    predicted = torch.zeros(2, 1, 4, 4, requires_grad=True)
    value = soft_dice(predicted, torch.zeros(2, 1, 4, 4), smooth, per="sample and label", squared=True)
    assert value.item() == 1
    value.backward()
    assert torch.isfinite(predicted.grad).all()


ALL_LOSSES = ["dice", "cross_entropy", "focal", "jaccard", "focal_log_dice", "hausdorff", "privileged_dice"]


@pytest.mark.parametrize("name", ALL_LOSSES)
@pytest.mark.parametrize("activation", BOTH)
def test_certain_logits_of_half_precision_stay_finite(name, activation):
    """The largest logits that float16 can hold, right and wrong ones, nothing there and all there."""
    logits = torch.tensor([-65504.0, 65504.0]).repeat(2 * 3 * 8).view(2, 3, 4, 4).requires_grad_()
    for truth in ("background", "all"):
        target = torch.full((2, 3, 4, 4), float(truth == "all"))
        if activation == "softmax":
            target[:, 0], target[:, 1:] = (1, 0) if truth == "background" else (0, 1 / 2)
        value = build_loss({"name": name}, activation)(logits, target, 0)
        (gradient,) = torch.autograd.grad(value, logits)
        assert torch.isfinite(value)
        assert torch.isfinite(gradient).all()


def test_sums_over_a_large_volume_keep_their_digits():
    """Three million voxels: half precision would overflow."""
    target = torch.zeros(1, 1, 144, 144, 144)
    target[..., :72] = 1
    predicted = 0.25 + 0.5 * target
    share = target.mean().item()
    expected = 2 * 0.75 * share / (0.75 * share + 0.25 * (1 - share) + share)
    assert soft_dice(predicted, target, smooth=0.0).item() == pytest.approx(expected, rel=1e-6)
    logits = torch.logit(predicted)
    jaccard_loss = build_loss({"name": "jaccard"}, "sigmoid")(logits, target, 0)
    shared, sizes = 0.75 * share, 0.75**2 * share + 0.25**2 * (1 - share) + share
    assert jaccard_loss.item() == pytest.approx(1 - shared / (sizes - shared), abs=1e-6)


def test_wrong_numbers_of_weights_and_alpha_with_softmax_are_named():
    logits, target = (torch.from_numpy(maps) for maps in case("softmax", 0))
    for name in ("cross_entropy", "focal"):
        with pytest.raises(InputError, match="2 weights, the network 3 outputs"):
            build_loss({"name": name, "weights": [1.0, 2.0]}, "softmax")(logits, target, 0)
    with pytest.raises(InputError, match="alpha"):
        build_loss({"name": "focal_log_dice", "alpha": 0.25}, "softmax")
