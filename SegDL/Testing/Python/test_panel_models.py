"""The panel's list of models as shipped: one is ready, the others say how to get their weights."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.host

MODULE = Path(__file__).resolve().parents[3] / "SegDL" / "SegDL.py"
PET_CT = "Head and neck tumour - SE-Norm residual 3D U-Net (PET/CT)"


@pytest.fixture
def panel(slicer_app, tmp_path, monkeypatch):
    """The panel with an empty scene and no model but the shipped ones."""
    from host import requirements

    if requirements.qt_problem():
        pytest.skip(requirements.qt_problem())
    import host

    monkeypatch.setenv("SEGDL_MODELS", str(tmp_path))
    host.start()
    module = host.load_module(MODULE, width=460, height=900)
    yield module.widget
    module.unload()


def test_a_model_with_weights_is_chosen_and_listed_first(panel):
    from SegDLEngine.models.catalogue import list_models, load_model

    selector = panel.ui.modelSelector
    titles = [selector.itemText(index) for index in range(selector.count)]
    assert len(titles) == len(list_models())
    assert selector.currentText == load_model("lung-tumor-unet2d").card.title
    missing = ["(not installed)" in title for title in titles]
    assert missing == sorted(missing) and any(missing)


def test_a_model_without_weights_says_how_to_get_them_and_does_not_start(panel):
    import host

    host.choose(panel.ui.modelSelector, f"{PET_CT} (not installed)")
    assert "weights are not installed" in panel.ui.modelInfoLabel.text
    assert "models show head-neck-tumor-se-resunet3d" in panel.ui.modelInfoLabel.text
    assert not panel.ui.runButton.enabled
    assert "model that is installed" in panel.ui.statusLabel.text
