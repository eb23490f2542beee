"""The hidden module on the host: it loads without a panel, lists recipes and reports a training's failure."""

from __future__ import annotations

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
