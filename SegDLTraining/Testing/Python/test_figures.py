"""The metrics of the reports, on cases small enough to compute by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from SegDLEngine.networks.network import Network
from SegDLTrainingLib.figures import mean_of_folds, measure, parts_to_measure
from SegDLTrainingLib.recipes import Recipe
from SegDLTrainingLib.volumes import PreparedVolume


class Given(Network):
    """Hands its input through: the case's image holds the logits."""

    dimensions, divisible_by, receptive_field = 2, 1, 1
    dropout_layers: tuple[str, ...] = ()

    def __init__(self, channels: int):
        super().__init__()
        self.report_input = (channels, 2, 2)
        self.nothing = torch.nn.Parameter(torch.zeros(1))

    def forward(self, slices):
        return slices


def recipe(metric: str, labels=("Tumour",), activation="sigmoid", value=0.5, column="validation", **more):
    inference = {"mode": "slices", "context": [0], "batch": 4, "activation": activation, "threshold": 0.5}
    card = {
        "labels": [{"name": name, "value": place} for place, name in enumerate(labels, start=1)],
        "inference": {**inference, **more.pop("inference", {})},
        "postprocessing": more.pop("postprocessing", []),
    }
    published = {"metric": metric, "column": column, "value": value, **more}
    return Recipe({"card": card, "published": published})


def case(name: str, probabilities, labels) -> PreparedVolume:
    """A row of voxels a slice; ``probabilities`` (k, i) of one label, or (classes, k, i) with background."""
    p = np.asarray(probabilities, dtype=np.float64)
    logits = np.log(p / (1 - p))[None] if p.ndim == 2 else np.log(p)
    shape = (len(logits), *logits.shape[1:2], 1, logits.shape[2])
    truth = np.asarray(labels, dtype=np.uint8).reshape(shape[1:])
    return PreparedVolume(logits.reshape(shape).astype(np.float32), truth, (1.0, 1.0, 1.0), name)


def figures(one: Recipe, *cases: PreparedVolume, part: str = "validation"):
    rows = measure(Given(len(cases[0].image)), {part: cases}, one, one.card, "cpu")
    assert {row["part"] for row in rows} == {part}
    return {row["name"]: (row["value"], row["cases"]) for row in rows}


# Dice 2*1/(2+1), 2*2/(2+3), a false alarm (0), and a case without anything, which does not count.
CASES = [
    case("one", [[0.9, 0.2, 0.1, 0.4]], [[1, 1, 0, 0]]),
    case("two", [[0.9, 0.8, 0.6, 0.1]], [[1, 1, 0, 0]]),
    case("alarm", [[0.1, 0.1, 0.7, 0.1]], [[0, 0, 0, 0]]),
    case("nothing", [[0.1, 0.1, 0.1, 0.1]], [[0, 0, 0, 0]]),
]


def test_hard_dice_is_the_mean_of_cases_with_something_there_or_found():
    assert figures(recipe("dice"), *CASES) == {"Tumour": (pytest.approx((2 / 3 + 0.8) / 3, abs=1e-4), 3)}


def test_median_dice_is_of_the_cases_with_the_label_at_the_card_s_threshold():
    assert figures(recipe("median_dice"), *CASES[1:]) == {"Tumour": (0.8, 1)}
    strict = recipe("median_dice", inference={"threshold": 0.85})
    assert figures(strict, *CASES) == {"Tumour": (pytest.approx(2 / 3, abs=1e-4), 2)}


def test_components_that_the_card_removes_are_not_counted():
    lone = case("lone", [[0.9, 0.9, 0.1, 0.9]], [[1, 1, 0, 0]])
    assert figures(recipe("dice"), lone)["Tumour"][0] == 0.8
    rules = [{"step": "components", "keep": "largest"}]
    assert figures(recipe("dice", postprocessing=rules), lone)["Tumour"][0] == 1.0


def test_soft_dice_of_report_002_has_squares_and_no_threshold():
    softmax = np.array([[[0.5, 0.2, 0.7]], [[0.3, 0.7, 0.1]], [[0.2, 0.1, 0.2]]])
    one = recipe("soft_dice", ("Necrosis", "Oedema"), "softmax")
    found = figures(one, case("one", softmax, [[1, 1, 2]]), case("bare", softmax, [[0, 1, 0]]))
    # Necrosis: 2 * (0.3 + 0.7) / (0.09 + 0.49 + 0.01 + 2) and 2 * 0.7 / (0.59 + 1).
    assert found["Necrosis"] == (pytest.approx((2 / 2.59 + 1.4 / 1.59) / 2, abs=1e-4), 2)
    # Oedema, in one case only: 2 * 0.2 / (0.04 + 0.01 + 0.04 + 1).
    assert found["Oedema"] == (pytest.approx(0.4 / 1.09, abs=1e-4), 1)


def test_regions_join_labels():
    softmax = np.array([[[0.1, 0.1, 0.8]], [[0.8, 0.1, 0.1]], [[0.1, 0.8, 0.1]]])
    one = recipe("dice", ("Necrosis", "Oedema"), "softmax", {"complete": 0.9}, regions={"complete": [1, 2]})
    found = figures(one, case("one", softmax, [[2, 1, 0]]))
    assert found == {"Necrosis": (0.0, 1), "Oedema": (0.0, 1), "complete": (1.0, 1)}


def test_soft_dice_of_report_004_adds_100_over_batches_of_64_slices():
    """The specification's example: 400 of 4096 pixels, p 0.9 on 300 of them, else 0.1."""
    truth, p = np.zeros((64, 64), np.uint8), np.full((64, 64), 0.1)
    truth.reshape(-1)[:400], p.reshape(-1)[:300] = 1, 0.9
    one = recipe("soft_dice_batch")
    assert figures(one, case("one", p, truth))["Tumour"] == (0.5741, 1)
    # Two cases: the second begins a batch that is not full and so does not count.
    assert figures(one, case("one", p, truth), case("two", p[:10], truth[:10])) == {"Tumour": (0.5741, 2)}
    # Batches run on from case to case.
    halves = [case("a", p[:32], truth[:32]), case("b", p[32:], truth[32:])]
    assert figures(one, *halves) == {"Tumour": (0.5741, 2)}


def test_the_training_cases_are_measured_if_the_report_has_a_figure_of_them():
    cases = {"training": [1], "validation": [2], "test": []}
    assert parts_to_measure(recipe("dice"), cases) == {"validation": [2]}
    with_train = recipe("dice", value={"train": 0.9, "test": 0.8}, column="test")
    assert parts_to_measure(with_train, cases) == {"train": [1], "validation": [2]}
    assert parts_to_measure(recipe("dice"), {**cases, "test": [3]}) == {"validation": [2], "test": [3]}


def test_without_published_figures_the_hard_dice_is_measured():
    one = recipe("dice")
    plain = Recipe({**one.data, "published": None})
    rows = measure(Given(1), {"test": CASES[:1]}, plain, plain.card, "cpu")
    assert rows == [
        {
            "metric": "dice",
            "part": "test",
            "name": "Tumour",
            "value": pytest.approx(2 / 3, abs=1e-4),
            "cases": 1,
        }
    ]


def test_folds_are_averaged_and_their_cases_counted():
    def row(part, value, cases):
        return {"metric": "dice", "part": part, "name": "Tumour", "value": value, "cases": cases}

    folds = [
        [row("validation", 0.6, 3), row("test", 0.5, 2)],
        [row("validation", 0.8, 4), row("test", None, 0)],
    ]
    assert mean_of_folds(folds) == [row("validation", 0.7, 7), row("test", 0.5, 2)]
