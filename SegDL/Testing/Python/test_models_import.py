"""segdl models import: weights of the public originals, initial weights, and what is refused."""

from __future__ import annotations

import collections
import json

import pytest
import torch
from safetensors.torch import load_file
from SegDLEngine.command_line.main import main
from SegDLEngine.models import catalogue
from SegDLEngine.models.catalogue import load_model
from SegDLEngine.models.importers.fitting import fit
from SegDLEngine.models.importers.states import read_state
from SegDLEngine.networks.registry import build_network
from test_networks_report000 import public_name
from tiny_model import tiny_card
from torch.nn import functional

LUNGS = {"filters": 2}
TUMOUR = {"filters": 2}
VOLUMES = {"mode": "windows", "patch": [16, 16, 16], "activation": "sigmoid", "threshold": 0.5}


@pytest.fixture(autouse=True)
def cards(tmp_path, monkeypatch):
    """Small networks under the ids of the shipped cards; an empty folder of the user's models."""
    shipped = tmp_path / "shipped"
    slices = {**tiny_card()["inference"], "uncertainty": "none"}
    for card_id, name, options, inference in (
        ("lungs-r231-unet2d", "lungmask_unet2d", LUNGS, slices),
        (
            "head-neck-tumor-se-resunet3d",
            "se_resunet3d",
            {**TUMOUR, "in_channels": 1},
            {**VOLUMES, "uncertainty": "flip_tta", "samples": 8},
        ),
        ("tiny-tumor", "lung_unet2d", {"filters": 2, "depth": 3}, slices),
    ):
        (shipped / card_id).mkdir(parents=True)
        card = tiny_card(id=card_id, network={"name": name, "options": options}, inference=inference)
        (shipped / card_id / "model.json").write_text(json.dumps(card))
    monkeypatch.setattr(catalogue, "SHIPPED_FOLDER", shipped)
    monkeypatch.setenv("SEGDL_MODELS", str(tmp_path / "models"))
    return tmp_path


def network_of(name, options, seed=0):
    torch.manual_seed(seed)
    return build_network(name, options)


def imported(*arguments):
    return main(["models", "import", *map(str, arguments)])


def refusal(capsys, cards, *arguments):
    """The one line of an import that is refused and leaves nothing behind."""
    capsys.readouterr()
    assert imported(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    folder = cards / "models"
    assert not folder.exists() or not list(folder.iterdir())
    return captured.err


def test_lungmask_weights_find_their_card(cards, capsys):
    state = network_of("lungmask_unet2d", LUNGS).state_dict()
    torch.save(collections.OrderedDict(state), cards / "unet_r231.pth")
    assert imported(cards / "unet_r231.pth", "--json") == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["id"], row["installed"], row["licence"]) == ("lungs-r231-unet2d", True, "Apache-2.0")
    found = load_model("lungs-r231-unet2d").build().state_dict()
    assert all(torch.allclose(found[name].float(), state[name].float(), atol=1e-3) for name in state)
    assert "lungmask" in (catalogue.Path(row["folder"]) / "LICENSE.txt").read_text()


def public_form(state):
    """Weights as the HECKTOR 2020 network stores them: its names, kernels for tensors (i, j, k)."""
    return {
        "module." + public_name(name): value.permute(0, 1, 4, 3, 2) if value.dim() == 5 else value
        for name, value in state.items()
    }


def test_the_hecktor_folds_become_an_ensemble_with_turned_kernels(cards):
    options = {**TUMOUR, "in_channels": 1}
    states = [network_of("se_resunet3d", options, seed).state_dict() for seed in (1, 2)]
    files = [cards / f"s{number}_best_model_weights.pt" for number in (0, 1)]
    for path, state in zip(files, states, strict=True):
        torch.save(public_form(state), path)
    assert imported(*files) == 0
    model = load_model("head-neck-tumor-se-resunet3d")
    assert (model.card.inference["uncertainty"], model.card.licence["spdx"]) == ("ensemble", "MIT")
    for network, state in zip(model.networks(), states, strict=True):
        found = network.state_dict()
        assert all(torch.allclose(found[name], state[name], atol=1e-3) for name in state)

    name = "encoder.0.0.unit.conv.weight"
    public = public_form(states[0])["module." + public_name(name)]
    image = torch.rand(1, 1, 9, 10, 11)
    turned = functional.conv3d(image.permute(0, 1, 4, 3, 2), public).permute(0, 1, 4, 3, 2)
    torch.testing.assert_close(functional.conv3d(image, states[0][name]), turned)


def test_own_weights_from_a_checkpoint_or_safetensors(cards):
    state = network_of("lung_unet2d", {"filters": 2, "depth": 3}).state_dict()
    torch.save({"epoch": 3, "state_dict": state, "optimizer": {"lr": 0.1}}, cards / "last.ckpt")
    assert imported(cards / "last.ckpt", "--as", "tiny-tumor") == 0
    card = load_model("tiny-tumor").card
    assert card.data["training"]["imported"]["files"] == ["last.ckpt"]
    assert card.data["results"] == []


def test_counters_that_old_files_lack_are_made(cards):
    state = network_of("lungmask_unet2d", LUNGS).state_dict()
    old = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    assert len(old) < len(state)
    assert list(fit(old, "lungmask_unet2d", LUNGS, "old.pth")) == list(state)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda state: state.pop("last.bias"), "tensor 'last.bias' is missing"),
        (lambda state: state.update(extra=torch.zeros(1)), "tensor 'extra' is not part of it"),
        (
            lambda state: state.update({"last.bias": torch.zeros(6)}),
            "tensor 'last.bias' has shape (6,), the network needs (3,)",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_named_with_the_tensor(cards, capsys, change, told):
    state = dict(network_of("lungmask_unet2d", LUNGS).state_dict())
    change(state)
    torch.save(state, cards / "wrong.pth")
    line = refusal(capsys, cards, cards / "wrong.pth")
    assert told in line and "wrong.pth" in line and "--as" in line


class Harmful:
    """Unpickling this would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_no_pickle_is_executed(cards, capsys):
    trace = cards / "trace"
    torch.save({"state_dict": Harmful(trace)}, cards / "harmful.pth")
    assert "never executes a pickle" in refusal(capsys, cards, cards / "harmful.pth")
    assert not trace.exists()


def test_a_pytorch_whose_reader_is_not_safe_reads_no_checkpoint(cards, capsys, monkeypatch):
    torch.save(network_of("lungmask_unet2d", LUNGS).state_dict(), cards / "unet.pth")
    monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
    assert "2.6 or newer" in refusal(capsys, cards, cards / "unet.pth")


def test_what_is_no_weights_is_refused(cards, capsys):
    (cards / "text.pth").write_text("no weights")
    (cards / "text.zip").write_text("no zip")
    (cards / "notes.txt").write_text("no weights")
    (cards / "empty").mkdir()
    torch.save({"numbers": [1, 2]}, cards / "numbers.pth")
    torch.save({"a": torch.zeros(1)}, cards / "unknown.pth")
    for name, told in {
        "text.pth": "is no file of PyTorch weights",
        "text.zip": "cannot be unpacked",
        "notes.txt": "its extension",
        "empty": "neither a MONAI bundle",
        "numbers.pth": "no table of tensors",
        "unknown.pth": "belong to no model that SegDL recognises",
        "absent.pth": "There is no file",
    }.items():
        line = refusal(capsys, cards, cards / name)
        assert told in line and name in line
    assert "no model 'nothing'" in refusal(capsys, cards, cards / "unknown.pth", "--as", "nothing")


def test_install_points_to_import(cards, capsys):
    torch.save({"a": torch.zeros(1)}, cards / "weights.pth")
    assert main(["models", "install", str(cards / "weights.pth")]) == 2
    assert "segdl models import" in capsys.readouterr().err


def test_torchscript_is_not_opened_without_trust(cards, capsys):
    network = torch.jit.script(torch.nn.Sequential(torch.nn.Conv2d(1, 1, 3)))
    torch.jit.save(network, cards / "script.pt")
    assert "--trust" in refusal(capsys, cards, cards / "script.pt")
    assert list(read_state(cards / "script.pt", trust=True)) == ["0.weight", "0.bias"]


def test_models_genesis_are_initial_weights_and_no_model(cards, capsys):
    state = network_of("genesis_unet3d", {"filters": 2}).state_dict()
    public = {f"module.{name}": value for name, value in state.items()}
    torch.save({"state_dict": public, "epoch": 1}, cards / "Genesis_Chest_CT.pt")
    assert "--initial" in refusal(capsys, cards, cards / "Genesis_Chest_CT.pt")
    options = ("--options", '{"filters": 2}')
    assert imported(cards / "Genesis_Chest_CT.pt", "--initial", cards / "flat.safetensors", *options) == 0
    flat = load_file(cards / "flat.safetensors")
    network_of("genesis_unet2d", {"filters": 2}).load_state_dict(flat)
    kernel = state["down_tr64.ops.0.conv1.weight"]
    torch.testing.assert_close(flat["down_tr64.ops.0.conv1.weight"], kernel.sum(dim=4).transpose(2, 3))
    volume = ("--network", "genesis_unet3d", *options)
    assert imported(cards / "Genesis_Chest_CT.pt", "--initial", cards / "solid.safetensors", *volume) == 0
    solid = load_file(cards / "solid.safetensors")
    torch.testing.assert_close(solid["down_tr64.ops.0.conv1.weight"], kernel.permute(0, 1, 4, 3, 2))
    line = refusal(capsys, cards, cards / "Genesis_Chest_CT.pt", "--initial", cards / "x.safetensors")
    assert "does not fit" in line or "do not fit" in line
    assert not (cards / "x.safetensors").exists()
