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


def test_a_failed_training_says_why(module, tmp_path):
    import SegDLTraining

    events = []
    with pytest.raises(RuntimeError, match=r"no recipe 'nothing-like-it'.*recipes lists"):
        SegDLTraining.SegDLTrainingLogic().train("nothing-like-it", tmp_path / "out", onEvent=events.append)
    assert [event["event"] for event in events] == ["error"]
    assert not (tmp_path / "out").exists()
