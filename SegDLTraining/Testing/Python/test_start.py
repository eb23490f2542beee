"""What a training starts from: files of weights as segdl models import --initial writes them."""

from __future__ import annotations

import pytest
import torch
from SegDLEngine.command_line.main import main
from SegDLEngine.errors import InputError
from SegDLEngine.networks.registry import build_network
from SegDLTrainingLib.recipes import Recipe
from SegDLTrainingLib.start import Start
from SegDLTrainingLib.transfer import initial_weights

OPTIONS = {"filters": 2}


def recipe(name, transfer=None, **options):
    card = {"network": {"name": name, "options": {**OPTIONS, **options}}}
    return Recipe({"card": card, "seed": 0, "transfer": transfer})


@pytest.fixture
def genesis(tmp_path):
    """The file that a checkpoint of the public kind becomes, for volumes."""
    torch.manual_seed(1)
    state = build_network("genesis_unet3d", OPTIONS).state_dict()
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, tmp_path / "g.pt")
    target = tmp_path / "genesis.safetensors"
    command = ["models", "import", str(tmp_path / "g.pt"), "--initial", str(target)]
    assert main([*command, "--network", "genesis_unet3d", "--options", '{"filters": 2}']) == 0
    return target


def test_a_file_starts_its_own_network_and_its_flat_form(genesis):
    start = Start.of(genesis)
    assert len(start.sha256) == 64 and start.training["imported"]["files"] == ["genesis.safetensors"]
    build_network("genesis_unet3d", OPTIONS).load_state_dict(initial_weights(recipe("genesis_unet3d"), start))
    flat = initial_weights(recipe("genesis_unet2d", {"fresh": ["out_tr"]}), start)
    kernel = start.state["down_tr64.ops.0.conv1.weight"]
    torch.testing.assert_close(flat["down_tr64.ops.0.conv1.weight"], kernel.sum(dim=2))


def test_another_network_or_file_is_refused(genesis, tmp_path):
    with pytest.raises(InputError, match=r"genesis\.safetensors is not the recipe's"):
        initial_weights(recipe("genesis_unet3d", filters=4), Start.of(genesis))
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(InputError, match="no sound safetensors"):
        Start.of(tmp_path / "text.safetensors")
    with pytest.raises(InputError, match="cannot be read"):
        Start.of(tmp_path / "absent.safetensors")
