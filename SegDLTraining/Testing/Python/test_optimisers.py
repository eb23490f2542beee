"""What each optimiser does in its first steps, against the formulas."""

from __future__ import annotations

import pytest
import torch
from SegDLTrainingLib.optimisers import build_optimiser


def steps(entry: dict, gradients: list[float], rate: float = 0.1, start: float = 2.0) -> list[float]:
    """A single weight after every step."""
    weight = torch.nn.Parameter(torch.tensor([[start]]))
    optimiser = build_optimiser([weight], entry)
    optimiser.param_groups[0]["lr"] = rate
    seen = []
    for gradient in gradients:
        weight.grad = torch.tensor([[gradient]])
        optimiser.step()
        seen.append(weight.item())
    return seen


def adam(gradients: list[float], first: float, second: float, rate: float = 0.1, start: float = 2.0):
    """Kingma and Ba 2015, algorithm 1."""
    mean = square = 0.0
    seen = []
    for number, gradient in enumerate(gradients, 1):
        mean = first * mean + (1 - first) * gradient
        square = second * square + (1 - second) * gradient**2
        step = rate * (mean / (1 - first**number)) / ((square / (1 - second**number)) ** 0.5 + 1e-8)
        start -= step
        seen.append(start)
    return seen


GRADIENTS = [1.0, -0.5, 3.0, 0.1]


@pytest.mark.parametrize("entry", [{}, {"name": "adam"}, {"name": "adam", "betas": [0.9, 0.99]}])
def test_adam(entry):
    """Nothing pulls the weights to 0 unless it is asked for, as mixup wants it."""
    first, second = entry.get("betas", (0.9, 0.999))
    assert steps(entry, GRADIENTS) == pytest.approx(adam(GRADIENTS, first, second), rel=1e-5)


def test_adamw_decays_weights_beside_the_step():
    plain = adam([1.0], 0.9, 0.999, start=2.0)[0]
    assert steps({"name": "adamw"}, [1.0]) == pytest.approx([plain - 0.1 * 0.01 * 2.0], rel=1e-5)


@pytest.mark.parametrize("momentum", [0.0, 0.99])
def test_sgd(momentum):
    entry = {"name": "sgd", "momentum": momentum} if momentum else {"name": "sgd"}
    velocity, weight, expected = 0.0, 2.0, []
    for gradient in GRADIENTS:
        velocity = momentum * velocity + gradient
        weight -= 0.1 * velocity
        expected.append(weight)
    assert steps(entry, GRADIENTS) == pytest.approx(expected, rel=1e-5)


def test_momentum_of_report_002_rises_from_a_half_to_nine_tenths_and_stays():
    optimiser = build_optimiser([torch.nn.Parameter(torch.ones(1))], {"name": "penalised_sgd"})
    seen = []
    for epoch in (0, 5, 10, 40):
        optimiser.set_epoch(epoch)
        seen.append(optimiser.param_groups[0]["momentum"])
    assert seen == pytest.approx([0.5, 0.7, 0.9, 0.9])
