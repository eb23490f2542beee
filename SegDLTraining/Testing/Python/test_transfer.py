"""Transfer: what is taken, what stays bit-identical when frozen, what starts anew."""

from __future__ import annotations

import copy

import pytest
import torch
from SegDLEngine.errors import InputError
from SegDLEngine.models.catalogue import load_model
from SegDLEngine.models.writing import write_package
from SegDLEngine.networks.registry import build_network
from SegDLTrainingLib.trainable import choose_trainable, set_training
from SegDLTrainingLib.transfer import initial_weights, take_weights
from tiny_model import tiny_card


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


def test_a_3d_network_begins_a_2d_one(tmp_path):
    source, card = _package(tmp_path / "source", "genesis_unet3d")
    wanted = copy.deepcopy(card)
    wanted["network"]["name"] = "genesis_unet2d"
    state = initial_weights(wanted, source, {"fresh": ["out_tr"]})
    kernel = source.build().state_dict()["down_tr64.ops.0.conv1.weight"]
    assert torch.allclose(state["down_tr64.ops.0.conv1.weight"], kernel.sum(dim=2), atol=1e-6)


def test_without_a_transfer_section_the_networks_must_be_the_same(tmp_path):
    source, card = _package(tmp_path / "source", "genesis_unet2d")
    assert initial_weights(card, source, None).keys() == source.build().state_dict().keys()
    other = {"network": {"name": "genesis_unet2d", "options": {"filters": 4}}}
    with pytest.raises(InputError, match="is not the recipe's"):
        initial_weights(other, source, None)


def test_foreign_weights_and_unknown_modules_are_named():
    with pytest.raises(InputError, match="None of the given weights"):
        take_weights(_network(0), {"something": torch.zeros(3)})
    with pytest.raises(InputError, match="'decoder9'"):
        take_weights(_network(0), _network(0).state_dict(), ["decoder9"])
