"""Several trainings become one package: the mean of weights, and an ensemble of folds."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from SegDLEngine.errors import InputError
from SegDLEngine.models.catalogue import load_model
from SegDLEngine.models.writing import write_package
from SegDLEngine.networks.registry import build_network
from SegDLTrainingLib.combine import combine
from SegDLTrainingLib.command_line import main
from tiny_model import tiny_card


def _package(folder, seed: int, **options):
    card = tiny_card()
    card["network"]["options"].update(options)
    torch.manual_seed(seed)
    network = build_network(card["network"]["name"], card["network"]["options"])
    write_package([network.state_dict()], card, folder, licence_text="test")
    return str(folder)


def test_the_mean_of_two_and_an_ensemble(tmp_path):
    first, second = _package(tmp_path / "a", 0), _package(tmp_path / "b", 1)
    states = [load_model(folder).build().state_dict() for folder in (first, second)]
    combine([[first, second], [second]], tmp_path / "both")
    networks = list(load_model(tmp_path / "both").networks())
    assert len(networks) == 2
    for name, tensor in networks[0].state_dict().items():
        assert torch.allclose(tensor, (states[0][name] + states[1][name]) / 2, atol=1e-3), name
    assert load_model(tmp_path / "both").card.data["training"]["combined"] == [["a", "b"], ["b"]]


def test_a_file_of_weights_takes_part(tmp_path):
    package = _package(tmp_path / "a", 0)
    state = load_model(package).build().state_dict()
    save_file({name: 3 * tensor for name, tensor in state.items()}, tmp_path / "stage.safetensors")
    arguments = ["--fold", str(tmp_path / "stage.safetensors"), package, "--output", str(tmp_path / "out")]
    assert main(["combine", "--progress", "none", *arguments]) == 0
    mixed = load_model(tmp_path / "out").build().state_dict()
    assert all(torch.allclose(mixed[name], 2 * state[name], atol=2e-3) for name in state)


def test_weights_of_another_network_are_refused(tmp_path):
    first, other = _package(tmp_path / "a", 0), _package(tmp_path / "b", 0, filters=3)
    with pytest.raises(InputError, match="are not those of the card's network"):
        combine([[first, other]], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="gives the card"):
        combine([[str(tmp_path / "stage.safetensors")]], tmp_path / "out")
