"""Transfer: what is taken, what stays bit-identical when frozen, what starts anew."""

from __future__ import annotations

import pytest
import torch
from SegDLEngine.errors import InputError
from SegDLEngine.networks.registry import build_network
from SegDLTrainingLib.transfer import Freezer, encoder_modules, take_weights


def _network(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    return build_network("genesis_unet2d", {"filters": 2})


def test_weights_are_taken_but_the_output_layer_starts_anew():
    source, network = _network(0), _network(1)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    taken, left = take_weights(network, source.state_dict(), fresh=["out_tr"])
    after = network.state_dict()
    assert {name for name in left} == {"out_tr.final_conv.weight", "out_tr.final_conv.bias"}
    assert all(torch.equal(after[name], source.state_dict()[name]) for name in taken)
    assert all(torch.equal(after[name], before[name]) for name in left)


def test_a_frozen_encoder_stays_bit_identical_with_its_statistics():
    network = _network(0)
    names = encoder_modules(network)
    freezer = Freezer(network, names)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(trainable, lr=0.01)
    for _ in range(5):
        freezer.train(network)
        loss = network(torch.randn(2, 1, 16, 16)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    for name, tensor in network.state_dict().items():
        frozen = any(name.startswith(module + ".") for module in names)
        if frozen:
            assert torch.equal(tensor, before[name]), name
    assert not torch.equal(network.out_tr.final_conv.weight, before["out_tr.final_conv.weight"])
    assert not torch.equal(network.up_tr64.ops[0].bn1.running_mean, before["up_tr64.ops.0.bn1.running_mean"])


def test_half_of_the_encoder():
    assert encoder_modules(_network(0), half=True) == ["down_tr64", "down_tr128"]


def test_foreign_weights_and_unknown_modules_are_named():
    with pytest.raises(InputError, match="None of the given weights"):
        take_weights(_network(0), {"something": torch.zeros(3)})
    with pytest.raises(InputError, match="'decoder9'"):
        Freezer(_network(0), ["decoder9"])
    with pytest.raises(InputError, match="encoder"):
        encoder_modules(torch.nn.Linear(1, 1))
