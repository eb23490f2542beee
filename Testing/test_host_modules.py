"""Scripted modules in the host: load, use, reload, unload, as the application does."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from toy_module import write_toy_module

pytestmark = pytest.mark.host


@pytest.fixture
def toy(slicer_app, tmp_path):
    import host

    loaded = host.load_module(write_toy_module(tmp_path))
    yield loaded
    if hasattr(sys.modules.get("slicer").modules, "toy"):
        loaded.unload()
    sys.path.remove(str(tmp_path / "Toy"))


def add_volume():
    import slicer.util

    voxels = np.zeros((4, 5, 6), np.int16)
    voxels[1:3, 1:4, 2:5] = 300
    return slicer.util.addVolumeFromArray(voxels, name="CT")


def test_a_panel_comes_up_and_a_click_makes_a_segmentation(toy, tmp_path):
    import host
    import slicer.util

    ui = toy.widget.ui
    assert ui.applyButton.enabled is False
    volume = add_volume()
    assert ui.inputSelector.currentNode() is volume
    assert ui.applyButton.enabled is True
    ui.thresholdSlider.value = 120
    assert toy.widget.logic.getParameterNode().GetParameter("threshold") == "120.0"

    host.click(ui.applyButton)

    assert (ui.statusLabel.text, ui.progressBar.value) == ("18 voxels", 100)
    segmentation = toy.widget.segmentation
    segment = segmentation.GetSegmentation().GetNthSegmentID(0)
    assert slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment, volume).sum() == 18
    assert host.warnings() == []
    picture = host.screenshot(toy.panel, tmp_path / "panel.png")
    assert picture.stat().st_size > 2000


def test_an_error_in_a_slot_is_seen_by_the_test(toy):
    import host

    add_volume()
    toy.widget.ui.thresholdSlider.value = 900
    host.click(toy.widget.ui.applyButton)
    assert any("ValueError: nothing lies above the threshold" in line for line in host.warnings())


def test_closing_the_scene_reaches_the_panel(toy):
    import slicer

    add_volume()
    slicer.mrmlScene.Clear(False)
    ui = toy.widget.ui
    assert (ui.statusLabel.text, ui.applyButton.enabled) == ("scene closed", False)


def test_the_module_is_known_to_the_application(toy):
    import slicer
    import slicer.util

    assert slicer.util.modulePath("Toy") == slicer.modules.toy.path
    assert slicer.util.getModule("Toy").title == "Toy"
    assert slicer.util.getModuleWidget("Toy") is toy.widget is slicer.modules.ToyWidget
    assert slicer.util.getModuleLogic("Toy") is toy.widget.logic
    assert "Toy" in slicer.app.moduleManager().modulesNames()
    with pytest.raises(AttributeError, match="tittle"):
        slicer.modules.toy.tittle = "Toy"
    with pytest.raises(AttributeError, match="does not accept"):
        slicer.modules.toy.categories = "Segmentation"


def test_slots_of_startup_completed_are_called_once(slicer_app, tmp_path):
    import host
    import slicer

    seen = []
    slicer.app.connect("startupCompleted()", lambda: seen.append("complete"))
    for name in ("First", "Second"):
        (tmp_path / f"{name}.py").write_text(
            "from slicer.ScriptedLoadableModule import *\n"
            f"class {name}(ScriptedLoadableModule):\n"
            "    def __init__(self, parent):\n"
            "        ScriptedLoadableModule.__init__(self, parent)\n"
            f"        parent.title = '{name}'\n",
            encoding="utf-8",
        )
        host.load_module(tmp_path / f"{name}.py", panel=False).unload()
    assert seen == ["complete"]


def test_switching_modules_leaves_and_enters(toy):
    import slicer.util

    assert (toy.widget.entered, toy.panel.isEntered) == (1, True)
    slicer.util.selectModule("SegmentEditor")
    assert (toy.panel.isEntered, toy.panel.visible) == (False, False)
    slicer.util.selectModule("Toy")
    assert (toy.widget.entered, toy.panel.isEntered, toy.panel.visible) == (2, True, True)
    toy.exit()
    assert toy.panel.isEntered is False


def test_reload_reads_the_source_again_and_leaves_no_observer(toy, tmp_path):
    old = toy.widget
    path = tmp_path / "Toy" / "Toy.py"
    path.write_text(
        path.read_text(encoding="utf-8").replace("version = 1", "version = 2000"), encoding="utf-8"
    )

    new = toy.reload()

    assert (old.version, new.version) == (1, 2000)
    assert (len(old.Observations), len(new.Observations)) == (0, 1)
    assert (new.entered, toy.panel.isEntered) == (1, True)
    assert new.ui.applyButton.visible is True
    assert new.ui.inputSelector.mrmlScene() is not None


def test_unload_cleans_up(toy):
    import slicer

    widget = toy.widget
    toy.unload()
    assert len(widget.Observations) == 0
    assert not hasattr(slicer.modules, "toy")
    assert slicer.app.moduleManager().module("Toy") is None


def test_widgets_that_are_gone_do_not_hear_of_the_scene(slicer_app):
    import host
    import qt
    import slicer

    parent = qt.QWidget()
    box, table = slicer.qMRMLNodeComboBox(parent), slicer.qMRMLSegmentsTableView(parent)
    box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    box.setMRMLScene(slicer.mrmlScene)
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    table.setSegmentationNode(segmentation)
    parent.delete()
    host.clear_warnings()
    add_volume()
    segmentation.GetSegmentation().AddEmptySegment("later")
    slicer.app.processEvents()
    assert host.warnings() == []


def test_the_modules_self_test_runs(toy, capsys):
    toy.module.ToyTest().runTest()
    assert toy.module.ToyTest.prepared == ["class"]
    assert "segmenting" in capsys.readouterr().out


def test_the_self_test_reports_failure(toy):
    toy.module.ToyLogic.segment = lambda self, volume, threshold: (None, 0)
    with pytest.raises(AssertionError):
        toy.module.ToyTest().runTest()


def test_a_parameter_node_is_made_once_and_found_again(toy):
    import slicer

    logic = toy.module.ToyLogic()
    node = logic.getParameterNode()
    assert toy.module.ToyLogic().getParameterNode() is node
    assert (node.GetAttribute("ModuleName"), node.GetSingletonTag()) == ("Toy", "Toy")
    slicer.mrmlScene.Clear(False)
    assert logic.getParameterNode().GetScene() is slicer.mrmlScene


def test_a_module_that_does_not_exist_or_is_broken_is_an_error(slicer_app, tmp_path):
    import host
    import slicer

    with pytest.raises(ValueError, match=r"Absent\.py"):
        host.load_module(tmp_path / "Absent.py")
    broken = tmp_path / "Broken.py"
    broken.write_text("import slicer\nslicer.vtkMRMLNoSuchNode()\n", encoding="utf-8")
    with pytest.raises(AttributeError, match="vtkMRMLNoSuchNode"):
        host.load_module(broken)
    assert not hasattr(slicer.modules, "broken")


def test_waiting_ends_with_an_error(slicer_app):
    import host

    with pytest.raises(TimeoutError, match="the result did not come true within"):
        host.wait_for(lambda: False, 0.05, "the result")
