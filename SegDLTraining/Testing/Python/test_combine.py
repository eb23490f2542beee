"""Several trainings become one package: the mean of weights, and an ensemble of folds."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from SegDLEngine.errors import InputError
from SegDLEngine.inference.ensemble import predict_members
from SegDLEngine.inference.runtime import Runtime
from SegDLEngine.models.catalogue import load_model
from SegDLEngine.models.writing import write_package
from SegDLEngine.networks.registry import build_network
from SegDLEngine.protocol import Reporter
from SegDLTrainingLib.combine import combine
from SegDLTrainingLib.command_line import main
from SegDLTrainingLib.start import Start
from threshold_model import threshold_card, threshold_tensors
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
    with pytest.raises(InputError, match="'network' of their cards differ"):
        combine([[first, other]], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="gives the card"):
        combine([[str(tmp_path / "stage.safetensors")]], tmp_path / "out")


def _thresholds(folder, levels, **changes):
    """A package whose networks have the probability 1 / (1 + exp(-2 (x - level))) of the value x."""
    card = threshold_card(1, **changes)
    states = [threshold_tensors(card, [2.0], [level]) for level in levels]
    write_package(states, card, folder, licence_text="test")
    return str(folder)


def test_all_networks_of_an_ensemble_take_part_in_the_mean(tmp_path):
    ensemble, single = _thresholds(tmp_path / "e", [0.0, 0.5]), _thresholds(tmp_path / "s", [1.0])
    report = combine([[ensemble], [single]], tmp_path / "all")
    model = load_model(tmp_path / "all")
    assert report["folds"] == 3 == len(list(model.networks()))
    values = np.array([0.0, 0.25, 0.5, 1.0], np.float32)
    # Each value in a slice of its own.
    channels = np.broadcast_to(values[None, :, None, None], (1, 4, 8, 8)).copy()
    found = predict_members(
        model.networks(), 3, channels, model.card.inference, Runtime(torch.device("cpu")), Reporter()
    )
    by_hand = [
        (0.5 + 0.26894142 + 0.11920292) / 3,
        (0.62245933 + 0.37754067 + 0.18242552) / 3,
        (0.73105858 + 0.5 + 0.26894142) / 3,
        (0.88079708 + 0.73105858 + 0.5) / 3,
    ]
    np.testing.assert_allclose(found.probability[0].mean(axis=(1, 2)), by_hand, atol=1e-5)

    files = [tmp_path / "all" / f"weights-{number}.safetensors" for number in (1, 2, 3)]
    hashes = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    assert [entry["sha256"] for entry in model.card.weight_files] == hashes
    assert report["sha256"] == hashlib.sha256("".join(hashes).encode()).hexdigest()


def test_the_card_claims_nothing_that_was_measured_of_a_part(tmp_path):
    training = {"recipe": "r", "seed": 3, "kept_epoch": 5, "validation": {"Label 0": {"dice_mean": 0.9}}}
    inference = {**threshold_card(1)["inference"], "uncertainty": "none"}
    first = _thresholds(tmp_path / "a", [0.0], training=training, inference=inference)
    second = _thresholds(tmp_path / "b", [0.5], inference=inference)
    combine([[first], [second]], tmp_path / "all")
    card = load_model(tmp_path / "all").card
    assert card.data["training"] == {"recipe": "r", "seed": 3, "combined": [["a"], ["b"]]}
    assert card.inference["uncertainty"] == "ensemble" and card.data["results"] == []
    combine([[first, second]], tmp_path / "mean", card=str(tmp_path / "all"))
    assert load_model(tmp_path / "mean").card.inference["uncertainty"] == "none"


def test_an_ensemble_has_no_mean_with_others_and_is_no_start(tmp_path):
    ensemble, single = _thresholds(tmp_path / "e", [0.0, 0.5]), _thresholds(tmp_path / "s", [1.0])
    with pytest.raises(InputError, match=r"is an ensemble.*a --fold of its own"):
        combine([[single, ensemble]], tmp_path / "out")
    with pytest.raises(InputError, match=r"ensemble of 2 networks .*weights-1\.safetensors"):
        Start.of(ensemble)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("what", "changes"),
    [
        ("inputs", {"inputs": [{"name": "CT", "modality": "CT", "unit": "", "required": True}]}),
        ("preprocessing", {"preprocessing": [{"step": "window", "low": -1000, "high": 100}]}),
        ("inference.context", {"inference": {**threshold_card(1)["inference"], "context": [1]}}),
    ],
)
def test_packages_whose_cards_differ_are_refused(tmp_path, capsys, what, changes):
    first, other = _thresholds(tmp_path / "a", [0.0]), _thresholds(tmp_path / "b", [0.5], **changes)
    assert main(["combine", "--fold", first, "--fold", other, "--output", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert f"'{what}' of their cards differ" in told and "a" in told and not (tmp_path / "out").exists()


def test_another_label_is_refused_and_a_file_of_weights_has_none(tmp_path):
    first, other = _thresholds(tmp_path / "a", [0.0]), tmp_path / "b"
    _thresholds(other, [0.5])
    card = json.loads((other / "model.json").read_text())
    card["labels"][0]["name"] = "Another"
    (other / "model.json").write_text(json.dumps(card))
    with pytest.raises(InputError, match="'labels' of their cards differ"):
        combine([[first], [str(other)]], tmp_path / "out")
    assert combine([[str(other / "weights.safetensors")], [first]], tmp_path / "out")["folds"] == 2
