"""What a recipe can ask of a training, each against a number or against the training without it."""

import math

import numpy as np
import pytest
import torch
from SegDLEngine.errors import InputError
from SegDLEngine.networks.registry import build_network
from SegDLEngine.protocol import Reporter
from SegDLTrainingLib.averaging import WeightAverage
from SegDLTrainingLib.checkpoint import read_tensors
from SegDLTrainingLib.fit import Machine, fit
from SegDLTrainingLib.initialisation import set_output_bias
from SegDLTrainingLib.optimisers import build_optimiser
from SegDLTrainingLib.trainable import choose_trainable, set_training
from SegDLTrainingLib.volumes import PreparedVolume
from tiny_training import balls, smallest_recipe

INSTANCE = {"in_channels": 1, "filters": 2, "depth": 2, "dropout": 0.0, "normalisation": "instance"}
PER_SAMPLE = {"name": "sum", "terms": [{"name": "dice", "per": "sample"}, {"name": "cross_entropy"}]}


pytestmark = pytest.mark.usefixtures("one_thread")


def with_network(recipe, options):
    recipe.card["network"]["options"] = dict(options)
    return recipe


def run(recipe, folder, **settings):
    return fit(recipe, balls(), balls(2), folder, Reporter(), **settings)


@pytest.mark.parametrize("parts, options", [(2, {}), (4, {"mixup": 0.4})])
def test_accumulated_gradients_equal_the_larger_batch(tmp_path, parts, options):
    """With mixup too, although a part of one row has no other one to blend with.

    With SGD, whose steps are as long as the gradient, and no clipping.
    """
    same = {"loss": PER_SAMPLE, "optimiser": {"name": "sgd"}}
    options = {**options, "gradient_clip": 1e9}
    plain = with_network(smallest_recipe(**same, training=options), INSTANCE)
    changes = {**options, "accumulate": parts}
    accumulated = with_network(smallest_recipe(**same, training=changes), INSTANCE)
    one, other = run(plain, tmp_path / "one"), run(accumulated, tmp_path / "other")
    for row, again in zip(one.history, other.history, strict=True):
        assert row["loss"] == pytest.approx(again["loss"], abs=2e-5)
    assert all(torch.allclose(one.state[name], other.state[name], atol=1e-3) for name in one.state)


def test_a_batch_that_cannot_be_accumulated_is_refused(tmp_path):
    with pytest.raises(InputError, match="4 rows cannot be computed in 3 equal parts"):
        run(smallest_recipe(training={"accumulate": 3}), tmp_path)


def test_threads_that_draw_ahead_change_nothing(tmp_path):
    one = run(smallest_recipe(), tmp_path / "one")
    other = run(smallest_recipe(), tmp_path / "other", machine=Machine(loaders=3))
    assert all(torch.equal(one.state[name], other.state[name]) for name in one.state)


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_mixed_precision_learns_almost_the_same(tmp_path, kind):
    full = run(smallest_recipe(), tmp_path / "full")
    mixed = run(smallest_recipe(training={"mixed_precision": kind}), tmp_path / "mixed")
    assert mixed.history[-1]["loss"] == pytest.approx(full.history[-1]["loss"], rel=0.1)


def test_weight_average_by_hand():
    network = build_network("lung_unet2d", INSTANCE)
    average = WeightAverage(network, 0.5)
    weight = next(iter(network.parameters()))
    expected = weight.detach().clone()
    for count in (1, 2, 3):
        with torch.no_grad():
            weight.add_(1.0)
        average.update(network)
        keep = min(0.5, count / (count + 10))
        expected = keep * expected + (1 - keep) * weight.detach()
        assert torch.allclose(next(iter(average.network.parameters())), expected, atol=1e-6)


def test_early_stopping_ends_and_keeps_the_best(tmp_path):
    recipe = smallest_recipe(
        schedule={"name": "constant", "start": 0.0},
        training={"epochs": 9, "early_stopping": {"patience": 2, "min_delta": 0.001}, "weight_average": 0.0},
    )
    result = run(with_network(recipe, INSTANCE), tmp_path)
    assert len(result.history) == 3, "nothing improves at rate 0: the first epoch, then the patience"


def test_best_weights_are_those_of_the_best_epoch_by_the_monitor(tmp_path):
    result = run(smallest_recipe(training={"epochs": 5, "monitor": "validation_loss"}), tmp_path)
    losses = [row["validation_loss"] for row in result.history]
    assert result.kept["validation_loss"] == min(losses)
    last = run(smallest_recipe(training={"epochs": 5, "keep": "last"}), tmp_path / "last")
    assert last.kept == last.history[-1]


def test_second_phase_changes_the_output_layer_only(tmp_path):
    """Row 24 of the specification."""
    change = {"training": {"epochs": 1, "trainable": ["head*"]}, "sampling": {"tumour_share": 0.1}}
    first = run(smallest_recipe(), tmp_path / "first")
    both = run(smallest_recipe(phases=[{}, change]), tmp_path / "both")
    changed = {name for name in both.state if not torch.equal(first.state[name], both.state[name])}
    assert changed == {name for name in both.state if name.startswith("head")}
    assert [row["phase"] for row in both.history] == [0, 0, 0, 1]
    # The kept network, which the second phase changes, may differ from the last one of the first phase.
    kept, _ = read_tensors(next((tmp_path / "both").glob("kept-*")))
    assert all(torch.equal(kept[name], both.state[name]) for name in kept)


def test_unknown_trainable_parts_are_named_and_norms_of_frozen_parts_rest():
    network = build_network("lung_unet2d", {**INSTANCE, "normalisation": "batch"})
    with pytest.raises(InputError, match="'heads' matches no parameter"):
        choose_trainable(network, ["heads"])
    choose_trainable(network, ["head*"])
    set_training(network)
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert norms and not any(module.training for module in norms)
    choose_trainable(network, ["*"])
    set_training(network)
    assert all(module.training for module in norms)


def test_penalised_sgd_by_hand():
    weight = torch.nn.Parameter(torch.tensor([[3.0, -4.0]]))
    bias = torch.nn.Parameter(torch.tensor([2.0]))
    entry = {"name": "penalised_sgd", "momentum": [0.5, 0.9], "momentum_epochs": 4, "l1": 0.1, "l2": 0.01}
    optimiser = build_optimiser([weight, bias], entry)
    for group in optimiser.param_groups:
        group["lr"] = 0.1
    optimiser.set_epoch(2)
    assert optimiser.param_groups[0]["momentum"] == pytest.approx(0.7)
    weight.grad, bias.grad = torch.tensor([[1.0, 1.0]]), torch.tensor([1.0])
    optimiser.step()
    step = [1 + 0.1 + 2 * 0.01 * 3, 1 - 0.1 - 2 * 0.01 * 4]
    assert weight.tolist()[0] == pytest.approx([3 - 0.1 * step[0], -4 - 0.1 * step[1]])
    assert bias.tolist() == pytest.approx([1.9])


def test_penalised_sgd_bounds_the_norm_of_filters_only():
    weight = torch.nn.Parameter(torch.tensor([[30.0, -40.0], [0.3, 0.4]]))
    bias = torch.nn.Parameter(torch.tensor([50.0]))
    optimiser = build_optimiser([weight, bias], {"name": "penalised_sgd", "bound": 1.0})
    weight.grad, bias.grad = torch.zeros_like(weight), torch.zeros_like(bias)
    optimiser.step()
    assert weight.norm(dim=1).tolist() == pytest.approx([1.0, 0.5], abs=1e-5)
    assert bias.item() == 50


def test_unknown_optimisers_and_precisions_are_named(tmp_path):
    with pytest.raises(InputError, match="'lion' is unknown"):
        build_optimiser([torch.nn.Parameter(torch.zeros(1))], {"name": "lion"})
    with pytest.raises(InputError, match="'float8' is unknown"):
        run(smallest_recipe(training={"mixed_precision": "float8"}), tmp_path)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_output_bias_predicts_the_frequencies_of_the_labels(activation):
    labels = np.zeros((1, 10, 10), np.uint8)
    labels[0, 0, :5], labels[0, 1:4] = 1, 3
    volume = PreparedVolume(np.zeros((1, 1, 10, 10), np.float16), labels, (1.0, 1.0, 1.0), "one")
    outputs = 3 if activation == "softmax" else 2
    network = torch.nn.Conv2d(1, outputs, 1)
    set_output_bias(network, "bias", [volume], [1, 3], activation)
    found = network.bias.softmax(0) if activation == "softmax" else torch.sigmoid(network.bias)
    assert found.tolist() == pytest.approx(([0.65] if activation == "softmax" else []) + [0.05, 0.3])
    with pytest.raises(InputError, match="'weight' is no parameter of"):
        set_output_bias(network, "weight", [volume], [1, 3], activation)


def test_rate_of_every_epoch_follows_the_schedule(tmp_path):
    """Small ones too: the curve has a logarithmic axis."""
    result = run(smallest_recipe(schedule={"name": "exponential", "start": 1e-2, "factor": 8e-5}), tmp_path)
    assert [row["rate"] for row in result.history] == pytest.approx([1e-2, 8e-7, 6.4e-11], abs=0)
    assert all(math.isfinite(row["validation_loss"]) for row in result.history)
