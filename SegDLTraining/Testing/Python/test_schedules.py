"""Learning rates and early stopping against the reports' numbers."""

import pytest
from SegDLEngine.errors import InputError
from SegDLTrainingLib.schedules import build_schedule, stagnates


def losses(*values: float) -> list[dict[str, float]]:
    return [{"validation_loss": value, "validation_dice": 1 - value} for value in values]


def test_report_000_cosine_with_restarts():
    rate = build_schedule({"name": "cosine_restarts"})
    expected = {0: 1e-3, 12: 5.36081e-4, 13: 4.73919e-4, 24: 1.39032e-5, 25: 1e-3}
    for epoch, value in expected.items():
        assert rate(epoch) == pytest.approx(value, rel=1e-5)
    assert rate(12.7) == rate(12)


def test_report_001_exponential():
    rate = build_schedule({"name": "exponential"})
    for epoch in (0, 1, 5, 9):
        assert rate(epoch) == pytest.approx(1e-3 * 0.8**epoch)
    assert rate(9) == pytest.approx(1.342e-4, rel=1e-3)
    assert rate(3.9) == rate(3)


def test_report_003_exponential_every_25_epochs():
    rate = build_schedule({"name": "exponential", "start": 2e-4, "factor": 0.8, "every": 25})
    expected = {0: 2e-4, 24: 2e-4, 25: 1.6e-4, 100: 8.192e-5, 250: 2.14748e-5, 475: 2.88230e-6}
    for epoch, value in expected.items():
        assert rate(epoch) == pytest.approx(value, rel=1e-5)


def test_report_004_plateau_halves_after_two_epochs_without_improvement():
    rate = build_schedule({"name": "plateau"})
    assert rate(0) == 1e-2
    assert rate(3, losses(0.5, 0.4, 0.41)) == 1e-2
    assert rate(4, losses(0.5, 0.4, 0.41, 0.40)) == 5e-3
    assert rate(4, losses(0.5, 0.4, 0.41, 0.39995)) == 5e-3, "less than min_delta is no improvement"
    assert rate(9, losses(0.4, *[0.5] * 8)) == pytest.approx(6.25e-4)
    assert rate(5, losses(0.4, 0.5, 0.5, 0.45, 0.44)) == 2.5e-3, "the best stays the best after a reduction"


def test_plateau_follows_a_metric_that_should_rise():
    rate = build_schedule({"name": "plateau", "metric": "validation_dice", "start": 1.0, "end": 0.3})
    assert rate(3, losses(0.5, 0.4, 0.3)) == 1.0
    assert rate(4, losses(0.5, 0.6, 0.7)) == 0.5
    assert rate(9, losses(0.5, *[0.6] * 8)) == 0.3


def test_warm_cosine_rises_to_its_start_and_falls_to_its_end():
    rate = build_schedule({"name": "warm_cosine", "start": 2e-3, "epochs": 10, "warm_up": 2, "end": 1e-5})
    assert rate(0) < 1e-5 and rate(1) == pytest.approx(1e-3, rel=1e-2)
    assert rate(2) == pytest.approx(2e-3) and rate(6) == pytest.approx((2e-3 + 1e-5) / 2)
    assert rate(10) == rate(13) == pytest.approx(1e-5)


def test_early_stopping_waits_for_its_patience():
    assert not stagnates(losses(0.5, 0.4, *[0.45] * 4), "validation_loss", 5)
    assert stagnates(losses(0.5, 0.4, *[0.45] * 5), "validation_loss", 5)
    assert not stagnates(losses(0.5, 0.45, 0.46, 0.47, 0.44, 0.46), "validation_loss", 3)
    assert not stagnates([], "validation_loss", 1)


def test_unknown_schedules_and_constants_are_named():
    with pytest.raises(InputError, match="unknown"):
        build_schedule({"name": "nonsense"})
    with pytest.raises(InputError, match=r"'exponential'.*speed"):
        build_schedule({"name": "exponential", "speed": 3})
