"""The module with its panel on the host, with real scene and worker: fixtures, and what a user does."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

__all__ = ["loaded", "modelsFolder", "panel", "volume"]


ROOT = Path(__file__).resolve().parents[3]


MODULE = ROOT / "SegDL" / "SegDL.py"


TINY, PAIR = "tiny-tumor", "tiny-pair"


PAIR_INPUTS = [
    {"name": "CT", "modality": "CT", "unit": "HU", "required": True},
    {"name": "PET", "modality": "PT", "unit": "SUV", "required": False},
]


@pytest.fixture(scope="module")
def modelsFolder(tmp_path_factory):
    pytest.importorskip("torch")
    from tiny_model import write_tiny_package

    folder = tmp_path_factory.mktemp("models")
    write_tiny_package(folder / TINY)
    write_tiny_package(folder / PAIR, id=PAIR, title="Two inputs for tests", inputs=PAIR_INPUTS)
    return folder


@pytest.fixture(scope="module")
def loaded(modelsFolder):
    """The module with its panel, loaded once; the worker stays warm from test to test."""
    from host import requirements

    if requirements.qt_problem():
        pytest.skip(requirements.qt_problem())
    import host

    before = os.environ.get("SEGDL_MODELS")
    os.environ["SEGDL_MODELS"] = str(modelsFolder)
    host.start()
    module = host.load_module(MODULE, width=460, height=900)
    yield module
    module.unload()
    os.environ.pop("SEGDL_MODELS")
    if before is not None:
        os.environ["SEGDL_MODELS"] = before


@pytest.fixture
def panel(slicer_app, loaded):
    """The widget with the tiny model chosen and an empty scene; nothing may go wrong unseen."""
    import host

    host.choose(loaded.widget.ui.modelSelector, "Tiny network for tests")
    host.clear_warnings()
    yield loaded.widget
    assert not loaded.widget.logic.segmenter.busy
    assert jobFolders() == []
    assert host.warnings() == []


@pytest.fixture
def volume(panel):
    """A chest phantom in the scene, which the panel has guessed to be the CT."""
    import host

    node = addPhantom("CT phantom")
    host.wait_for(lambda: panel.ui.runButton.enabled, 10, "the guess of the CT")
    return node


def addPhantom(name, spacing=4.0):
    import slicer.util

    k, j, i = np.mgrid[:12, :32, :32]
    voxels = np.full(k.shape, -1000, np.int16)
    voxels[((k - 6) / 7) ** 2 + ((j - 16) / 12) ** 2 + ((i - 16) / 14) ** 2 < 1] = 30
    return slicer.util.addVolumeFromArray(voxels, np.diag([-spacing, -spacing, 5.0, 1.0]), name)


def jobFolders() -> list[str]:
    import slicer

    return [entry.name for entry in Path(slicer.app.temporaryPath).glob("SegDL-*")]


def nodeIDs() -> set[str]:
    import slicer

    scene = slicer.mrmlScene
    return {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}


def run(panel, samples=2):
    import host

    panel.ui.samplesSpinBox.setValue(samples)
    host.click(panel.ui.runButton)


def runToEnd(panel, samples=2):
    import host

    run(panel, samples)
    host.wait_for(lambda: not panel.logic.segmenter.busy, 120, "the end of the segmentation")


def startLongRun(panel):
    """Click and wait until the worker computes; many samples keep it busy."""
    import host

    run(panel, 800)
    host.wait_for(lambda: "inference" in panel.ui.statusLabel.text, 120, "the inference")
