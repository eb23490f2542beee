"""The hidden module on the host: it loads without a panel, lists recipes and reports a training's failure."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.host

MODULE = Path(__file__).resolve().parents[2] / "SegDLTraining.py"


@pytest.fixture
def module(slicer_app):
    import host

    loaded = host.load_module(MODULE, panel=False)
    yield loaded
    loaded.unload()


def test_the_module_is_hidden_and_needs_segdl(module):
    assert module.instance.parent.hidden
    assert module.instance.parent.dependencies == ["SegDL"]


def test_recipes_are_listed_by_name(module):
    import SegDLTraining

    assert "lung-tumor-unet2d" in SegDLTraining.SegDLTrainingLogic().recipes()


def test_the_self_test_of_the_module_passes(module):
    module.module.SegDLTrainingTest().runTest()


def test_what_cannot_start_says_why(module, tmp_path):
    from SegDLEngine.errors import InputError

    import SegDLTraining

    logic = SegDLTraining.SegDLTrainingLogic()
    with pytest.raises(InputError, match="no recipe 'nothing-like-it'"):
        logic.train("nothing-like-it", tmp_path / "out")
    with pytest.raises(InputError, match="'000-baseline-unet3d' needs cases"):
        logic.train("000-baseline-unet3d", tmp_path / "out")
    with pytest.raises(InputError, match=r"scene.*has no segmentation"):
        logic.train("lung-tumor-unet2d", tmp_path / "out", scene=True)
    assert not logic.trainer.busy
    assert not list(tmp_path.iterdir())


def test_recipes_that_fine_tune_are_told_from_others(module):
    import SegDLTraining

    rows = SegDLTraining.SegDLTrainingLogic().trainer.recipes()
    needing = [row["id"] for row in rows if row["needsStart"]]
    assert "003-unet-decoder-10-40" in needing and "003-unet-scratch-10-40" not in needing


@pytest.mark.skipif(os.name == "nt", reason="a script is no program here")
@pytest.mark.parametrize("given", ["first-pass", "first.safetensors", "brain-tumor-unet3d-69k-demo"])
def test_weights_to_start_from_reach_the_command(module, tmp_path, monkeypatch, given):
    from SegDLEngine.errors import SegDLError

    import SegDLTraining

    program = tmp_path / "program"
    program.write_text(
        f"#!{sys.executable}\nimport json, sys\njson.dump(sys.argv, open({str(tmp_path / 'words')!r}, 'w'))\n"
        "sys.exit('segdl-train: no training here')\n",
        encoding="utf-8",
    )
    program.chmod(0o755)
    monkeypatch.setenv("SEGDL_PYTHON", str(program))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "first.safetensors").touch()
    # A model's id goes before a folder of the same name, as for the command.
    for name in ("first-pass", "brain-tumor-unet3d-69k-demo"):
        (tmp_path / name).mkdir()
    logic = SegDLTraining.SegDLTrainingLogic()
    with pytest.raises(SegDLError, match="no training here"):
        logic.train("lung-tumor-unet2d", tmp_path / "out", startFrom=given)
    logic.shutdown()
    words = json.loads((tmp_path / "words").read_text())
    wanted = given if given.endswith("demo") else str(tmp_path / given)
    assert words[words.index("--start-from") + 1] == wanted
