"""Writing packages, plain ones and fold ensembles: what is stored, verified, installed and built again."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch
from SegDLEngine.errors import InputError, ModelError
from SegDLEngine.models import package
from SegDLEngine.models.card import check_card
from SegDLEngine.models.catalogue import load_model
from SegDLEngine.models.warm import WarmModels
from SegDLEngine.models.writing import write_package, write_weights
from SegDLEngine.networks.registry import build_network
from tiny_model import tiny_card

LICENCE = "Apache-2.0\n"


def states(count):
    card = tiny_card()
    for seed in range(count):
        torch.manual_seed(seed)
        yield build_network(card["network"]["name"], card["network"]["options"]).state_dict()


def same(network, state):
    found = network.state_dict()
    return all(torch.allclose(found[name].float(), state[name].float(), atol=2e-3) for name in state)


@pytest.fixture
def ensemble(tmp_path):
    write_package(list(states(3)), tiny_card(), tmp_path / "source", licence_text=LICENCE)
    return tmp_path / "source"


def test_a_plain_package_is_complete_and_halves_its_weights(tmp_path):
    (state,) = states(1)
    report = write_package([state], tiny_card(), tmp_path / "model", licence_text=LICENCE)
    model = load_model(tmp_path / "model")
    assert {path.name for path in model.folder.iterdir()} == {
        "model.json",
        "weights.safetensors",
        "LICENSE.txt",
    }
    content = (model.folder / "weights.safetensors").read_bytes()
    assert report["sha256"] == model.sha256 == hashlib.sha256(content).hexdigest()
    assert len(content) < 2.5 * report["parameters"] + 16000
    assert [same(network, state) for network in model.networks()] == [True]
    assert list(tmp_path.iterdir()) == [tmp_path / "model"]


def test_the_folds_of_an_ensemble_come_back_in_order(ensemble):
    model = load_model(ensemble)
    hashes = [hashlib.sha256((ensemble / f"weights-{n}.safetensors").read_bytes()) for n in (1, 2, 3)]
    whole = hashlib.sha256("".join(one.hexdigest() for one in hashes).encode()).hexdigest()
    assert model.sha256 == package.verify(ensemble)["sha256"] == whole and model.installed
    pairs = list(zip(model.networks(), states(3), strict=True))
    assert all(same(network, state) and not network.training for network, state in pairs)
    assert not same(pairs[0][0], pairs[1][1])


def test_an_ensemble_is_packed_and_installed(ensemble, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGDL_MODELS", str(tmp_path / "models"))
    package.install(package.pack(ensemble, tmp_path / "e.zip"))
    model = load_model("tiny-tumor")
    assert model.installed and len(list(model.networks())) == 3
    assert len(list(load_model(tmp_path / "e.zip").networks())) == 3
    warm = WarmModels().get("tiny-tumor")
    assert len({id(network) for network in list(warm.networks())}) == 3


def test_an_ensemble_without_one_fold_is_broken(ensemble):
    (ensemble / "weights-2.safetensors").unlink()
    assert not load_model(ensemble, need_weights=False).installed
    with pytest.raises(ModelError, match=r"weights-2\.safetensors"):
        package.verify(ensemble)


def test_an_altered_fold_is_refused(ensemble):
    path = ensemble / "weights-3.safetensors"
    path.write_bytes((ensemble / "weights-1.safetensors").read_bytes())
    with pytest.raises(ModelError, match=r"SHA-256 of weights-3"):
        package.verify(ensemble)


def test_weights_beside_those_of_the_card_are_refused(ensemble):
    write_weights(next(states(1)), ensemble / "weights.safetensors")
    with pytest.raises(ModelError, match=r"'weights\.safetensors' does not belong"):
        package.verify(ensemble)


def test_writing_again_replaces_a_package_as_a_whole_and_keeps_its_readme(ensemble):
    (ensemble / "README.md").write_text("mine")
    write_package(list(states(1)), tiny_card(version="1.1.0"), ensemble, licence_text=LICENCE)
    assert package.verify(ensemble)["version"] == "1.1.0"
    assert (ensemble / "README.md").read_text() == "mine"
    assert not (ensemble / "weights-1.safetensors").exists()


def test_weights_that_do_not_fit_leave_the_older_package(ensemble):
    before = (ensemble / "model.json").read_bytes()
    broken = dict(next(states(1)))
    broken.popitem()
    with pytest.raises(ModelError, match="is missing"):
        write_package([broken], tiny_card(), ensemble, licence_text=LICENCE)
    assert (ensemble / "model.json").read_bytes() == before and package.verify(ensemble)
    assert list(ensemble.parent.iterdir()) == [ensemble]


def test_a_folder_with_something_else_is_not_overwritten(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="not a model package"):
        write_package(list(states(1)), tiny_card(), tmp_path, licence_text=LICENCE)


def test_numbers_too_large_for_half_precision_stay_as_they_are(tmp_path):
    state = dict(next(states(1)))
    name = next(iter(state))
    state[name] = state[name] * 0 + 1e6
    write_package([state], tiny_card(), tmp_path / "model", licence_text=LICENCE)
    assert float(load_model(tmp_path / "model").build().state_dict()[name].max()) == 1e6


def test_what_a_norm_divides_by_and_subtracts_is_kept_exactly(tmp_path):
    """Half precision would make the variance of a channel that hardly varies 0, and its mean too coarse."""
    card = tiny_card()
    card["network"]["options"]["normalisation"] = "batch"
    state = build_network(card["network"]["name"], card["network"]["options"]).state_dict()
    variances = {name: value * 0 + 1e-9 for name, value in state.items() if name.endswith("running_var")}
    means = {name: value * 0 + 1.23456789 for name, value in state.items() if name.endswith("running_mean")}
    assert variances and means
    state |= variances | means
    write_package([state], card, tmp_path / "model", licence_text=LICENCE)
    loaded = load_model(tmp_path / "model").build().state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in {**variances, **means}.items())


@pytest.mark.parametrize(
    "weights",
    [
        {"folds": [{"file": "weights-1.safetensors", "sha256": "0" * 64}]},
        {"folds": [{"file": "weights-1.safetensors", "sha256": "0" * 64}] * 2},
        {"folds": [{"file": "../weights-1.safetensors", "sha256": "0" * 64}] * 2},
        {"file": "weights.safetensors"},
        {"file": "weights.safetensors", "sha256": "0" * 64, "folds": []},
    ],
)
def test_cards_with_unsound_weights_are_refused(weights):
    with pytest.raises(ModelError, match="weights"):
        check_card(json.loads(json.dumps(tiny_card(weights=weights))))


def test_the_spread_of_an_ensemble_needs_folds():
    card = tiny_card(weights={"file": "weights.safetensors", "sha256": "0" * 64})
    card["inference"]["uncertainty"] = "ensemble"
    with pytest.raises(ModelError, match="several folds"):
        check_card(card)
    assert check_card({**card, "weights": {"folds": [fold(1), fold(2)]}}).sha256


def fold(number):
    return {"file": f"weights-{number}.safetensors", "sha256": f"{number:064d}"}
