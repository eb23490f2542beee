"""Transfer: what is taken, what stays bit-identical when frozen, what starts anew."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from SegDLEngine.errors import InputError
from SegDLEngine.models.catalogue import load_model
from SegDLEngine.models.writing import write_package
from SegDLEngine.networks.registry import build_network
from SegDLEngine.protocol import Reporter
from SegDLTrainingLib.recipes import Recipe
from SegDLTrainingLib.statistics import with_own_statistics
from SegDLTrainingLib.trainable import choose_trainable, set_training
from SegDLTrainingLib.transfer import initial_weights, take_weights
from SegDLTrainingLib.volumes import PreparedVolume
from tiny_model import tiny_card
from tiny_training import balls, smallest_recipe


def _network(seed: int, name: str = "genesis_unet2d") -> torch.nn.Module:
    torch.manual_seed(seed)
    return build_network(name, {"filters": 2})


def test_weights_are_taken_but_the_output_layer_starts_anew():
    source, network = _network(0), _network(1)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    taken, left = take_weights(network, source.state_dict(), fresh=["out_tr"])
    after = network.state_dict()
    assert set(left) == {"out_tr.final_conv.weight", "out_tr.final_conv.bias"}
    assert all(torch.equal(after[name], source.state_dict()[name]) for name in taken)
    assert all(torch.equal(after[name], before[name]) for name in left)


@pytest.mark.parametrize(
    "trainable, frozen",
    [
        (["up_*", "out_tr*"], ("down_tr64.", "down_tr128.", "down_tr256.", "down_tr512.")),
        (["down_tr256*", "down_tr512*", "up_*", "out_tr*"], ("down_tr64.", "down_tr128.")),
    ],
)
def test_a_frozen_encoder_or_half_of_it_stays_bit_identical(trainable, frozen):
    network = _network(0)
    choose_trainable(network, trainable)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    optimiser = torch.optim.Adam([entry for entry in network.parameters() if entry.requires_grad], lr=0.01)
    for _ in range(5):
        set_training(network)
        loss = network(torch.randn(2, 1, 16, 16)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    after = network.state_dict()
    for name, tensor in after.items():
        assert torch.equal(tensor, before[name]) == name.startswith(frozen), name


def _package(folder, name: str):
    card = tiny_card(network={"name": name, "options": {"filters": 2}})
    write_package([_network(0, name).state_dict()], card, folder, licence_text="test")
    return load_model(folder), card


def _recipe(card, seed: int = 0, **sections) -> Recipe:
    return Recipe({"card": card, "seed": seed, **sections})


def test_a_3d_network_begins_a_2d_one(tmp_path):
    source, card = _package(tmp_path / "source", "genesis_unet3d")
    wanted = copy.deepcopy(card)
    wanted["network"]["name"] = "genesis_unet2d"
    state = initial_weights(_recipe(wanted, transfer={"fresh": ["out_tr"]}), source)
    kernel = source.build().state_dict()["down_tr64.ops.0.conv1.weight"]
    assert torch.allclose(state["down_tr64.ops.0.conv1.weight"], kernel.sum(dim=2), atol=1e-6)


def test_what_starts_anew_follows_from_the_recipe_s_seed(tmp_path):
    source, card = _package(tmp_path / "source", "genesis_unet2d")
    states = []
    for seed in (4, 4, 5):
        torch.rand(3)
        states.append(initial_weights(_recipe(card, seed, transfer={"fresh": ["out_tr", "up_tr64"]}), source))
    one, again, other = states
    assert all(torch.equal(one[name], again[name]) for name in one)
    differing = {name for name in one if not torch.equal(one[name], other[name])}
    assert "out_tr.final_conv.weight" in differing and "up_tr64.up_conv.weight" in differing
    assert all(name.startswith(("out_tr.", "up_tr64.")) for name in differing)


def test_it_is_told_what_is_taken_and_what_does_not_fit(tmp_path):
    source, card = _package(tmp_path / "source", "genesis_unet2d")
    heard = []
    wanted = copy.deepcopy(card)
    wanted["network"]["options"]["in_channels"] = 2
    for each in (card, wanted):
        initial_weights(_recipe(each, transfer={"fresh": ["out_tr"]}), source, Reporter(heard.append))
    kinds = [event["event"] for event in heard]
    assert kinds == ["log", "log", "warning"]
    whole = len(source.build().state_dict())
    assert f"{whole - 2} of {whole} tensors" in heard[0]["text"]
    assert "fit for down_tr64.ops.0.conv1.weight;" in heard[2]["text"]


def _statistics_recipe(**transfer) -> Recipe:
    recipe = smallest_recipe(
        sampling={"mode": "patches", "patch": [16, 16], "foreground_share": 0.5},
        training={"trainable": ["up_*", "out_tr*"]},
    )
    recipe.data["transfer"] = {"fresh": ["out_tr"], **transfer}
    recipe.card["network"] = {"name": "genesis_unet2d", "options": {"filters": 2}}
    return recipe


def test_frozen_norms_get_the_statistics_of_the_new_cases_and_others_keep_theirs():
    recipe, state = _statistics_recipe(), _network(0).state_dict()
    cases = [
        PreparedVolume((9 * case.image + 4).astype(np.float16), case.labels, case.spacing, case.name)
        for case in balls()
    ]
    found = with_own_statistics(recipe, state, cases, "cpu", Reporter())
    again = with_own_statistics(recipe, state, cases, "cpu", Reporter())
    assert all(torch.equal(found[name], again[name]) for name in found)
    changed = {name for name in state if not torch.equal(found[name], state[name])}
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    frozen = {name for name in state if name.startswith("down_") and name.endswith(statistics)}
    assert changed == frozen
    images = torch.cat([torch.from_numpy(case.image.astype(np.float32)).swapaxes(0, 1) for case in cases])
    network = _network(0)
    network.load_state_dict(found)
    answers = network.down_tr64.ops[0].conv1(images)
    norm = network.down_tr64.ops[0].bn1
    assert torch.allclose(norm.running_mean, answers.mean(dim=(0, 2, 3)), rtol=0.2, atol=0.5)
    assert (norm.running_mean - state["down_tr64.ops.0.bn1.running_mean"]).abs().max() > 1


def test_a_stage_of_a_cascade_and_whole_networks_keep_their_statistics():
    state = _network(0).state_dict()
    recipes = [_statistics_recipe(into="first"), _statistics_recipe()]
    del recipes[1].data["training"]["trainable"]
    for recipe in recipes:
        found = with_own_statistics(recipe, state, balls(), "cpu", Reporter())
        assert all(torch.equal(found[name], state[name]) for name in state)


def test_without_a_transfer_section_the_networks_must_be_the_same(tmp_path):
    source, card = _package(tmp_path / "source", "genesis_unet2d")
    assert initial_weights(_recipe(card), source).keys() == source.build().state_dict().keys()
    other = {"network": {"name": "genesis_unet2d", "options": {"filters": 4}}}
    with pytest.raises(InputError, match="is not the recipe's"):
        initial_weights(_recipe(other), source)


def test_foreign_weights_and_unknown_modules_are_named():
    with pytest.raises(InputError, match="None of the given weights"):
        take_weights(_network(0), {"something": torch.zeros(3)})
    with pytest.raises(InputError, match="'decoder9'"):
        take_weights(_network(0), _network(0).state_dict(), ["decoder9"])
