"""The panel as a user meets it: what it guesses, asks and keeps, and how it ends what it began."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from panel_fixtures import TINY, addPhantom, jobFolders, nodeIDs, runToEnd, startLongRun

pytestmark = pytest.mark.host


def test_an_empty_scene_says_what_to_choose(panel):
    ui = panel.ui
    assert not ui.runButton.enabled
    assert ui.statusLabel.text == "Choose the CT volume."
    assert "Not for clinical use" in ui.modelInfoLabel.text
    assert "Finds: Tumour" in ui.modelInfoLabel.text
    assert not ui.dependencyFrame.visible
    assert not ui.progressBar.visible


@pytest.mark.parametrize(
    ("training", "said"),
    [
        (
            {"data": {"source": "generated thoraxes", "training": {"count": 180}}},
            "generated thoraxes, 180 cases",
        ),
        ({"data": "open <CT> scans"}, "open &lt;CT&gt; scans"),
        ({"data": {"source": "own scans", "training": "all"}}, "own scans"),
        ({}, None),
    ],
)
def test_a_model_says_what_it_was_trained_on(slicer_app, training, said):
    from SegDLLib.model_info import describe
    from tiny_model import tiny_card

    text = describe(tiny_card(training=training))
    assert f"Trained on: {said}<br>" in text if said else "Trained on" not in text


def test_the_ct_is_guessed_when_it_is_loaded(panel):
    import host

    addPhantom("MR brain T1")
    ct = addPhantom("CT thorax")
    host.wait_for(lambda: panel.ui.runButton.enabled, 10)
    assert panel.panel.parameters.input("CT") is ct
    assert panel.ui.statusLabel.text == ""


def test_cancel_leaves_the_scene_and_a_worker_that_still_works(panel, volume):
    import host

    runToEnd(panel, 0)
    before, pid = nodeIDs(), panel.logic.segmenter.engine.pid
    startLongRun(panel)
    host.click(panel.ui.runButton)
    assert panel.ui.statusLabel.text == "Cancelling..."
    assert not panel.ui.runButton.enabled
    host.wait_for(lambda: not panel.logic.segmenter.busy, 30)

    assert panel.ui.statusLabel.text == "Cancelled."
    assert panel.ui.runButton.text == "Segment tumor"
    assert nodeIDs() == before
    assert jobFolders() == []
    runToEnd(panel, 0)
    assert panel.logic.segmenter.engine.pid == pid
    assert len(nodeIDs()) > len(before)


def test_closing_the_scene_cancels(panel, volume):
    import host
    import slicer

    startLongRun(panel)
    slicer.mrmlScene.Clear(0)
    host.wait_for(lambda: not panel.logic.segmenter.busy, 30)
    assert slicer.util.getNodesByClass("vtkMRMLSegmentationNode") == []
    assert jobFolders() == []
    assert panel.ui.runButton.text == "Segment tumor"
    assert not panel.ui.runButton.enabled
    assert panel.ui.lesionTable.rowCount == 0


def test_a_killed_worker_is_one_readable_line(panel, volume):
    import host
    import qt

    before = nodeIDs()
    startLongRun(panel)
    os.kill(panel.logic.segmenter.engine.pid, 9)
    host.wait_for(lambda: not panel.logic.segmenter.busy, 30)

    assert "the scene was not changed" in panel.ui.statusLabel.text
    assert "\n" not in panel.ui.statusLabel.text
    assert "color" in panel.ui.statusLabel.styleSheet
    assert nodeIDs() == before
    host.click(panel.ui.logCollapsibleButton)
    host.click(panel.ui.copyReportButton)
    report = qt.QApplication.clipboard().text()
    assert "[engine_died]" in report
    assert "torch" in report
    assert "CT phantom" not in report, "node names may name a patient"
    host.click(panel.ui.logCollapsibleButton)
    runToEnd(panel, 0)
    assert panel.panel.parameters.result is not None


def test_an_unusable_input_is_a_line_and_no_dialog(panel, volume, monkeypatch):
    import host
    import qt
    import slicer

    shown = []
    for dialog in ("errorDisplay", "warningDisplay", "infoDisplay", "messageBox"):
        monkeypatch.setattr(slicer.util, dialog, lambda *text, **options: shown.append(text))
    unit = slicer.vtkCodedEntry()
    unit.SetValueSchemeMeaning("{SUVbw}g/ml", "UCUM", "SUV")
    volume.SetVoxelValueUnits(unit)
    host.click(panel.ui.runButton)
    assert "needs HU, but volume 'CT phantom' is in SUV" in panel.ui.statusLabel.text
    host.click(panel.ui.logCollapsibleButton)
    host.click(panel.ui.copyReportButton)
    report = qt.QApplication.clipboard().text()
    assert "needs HU, but volume '(name)' is in SUV" in report
    assert "CT phantom" not in report
    host.click(panel.ui.logCollapsibleButton)
    assert panel.ui.runButton.enabled
    assert shown == []


def test_choices_live_in_the_scene(panel, volume, tmp_path):
    import host
    import slicer

    ui = panel.ui
    runToEnd(panel, 3)
    ui.minimumMlSpinBox.setValue(0.7)
    ui.deviceSelector.setCurrentIndex(ui.deviceSelector.findData("cpu"))
    host.click(ui.overlayCheckBox)
    rows = ui.lesionTable.rowCount
    path = str(tmp_path / "scene.mrb")
    assert slicer.mrmlScene.WriteToMRB(path)
    slicer.mrmlScene.Clear(0)
    assert panel.panel.parameters.result is None
    assert ui.minimumMlSpinBox.value < 0
    assert slicer.mrmlScene.ReadFromMRB(path)
    host.process_events()

    assert panel.panel.parameters.model == TINY
    assert panel.panel.parameters.input("CT").GetName() == "CT phantom"
    assert ui.samplesSpinBox.value == 3
    assert ui.minimumMlSpinBox.value == pytest.approx(0.7)
    assert ui.deviceSelector.currentText == "Processor (CPU)"
    assert not ui.overlayCheckBox.checked
    assert ui.resultSelector.currentNode() is panel.panel.parameters.result
    assert ui.lesionTable.rowCount == rows > 0
    assert ui.runButton.enabled


def test_changes_of_the_parameter_node_show_in_the_panel(panel, volume):
    node = panel.logic.getParameterNode()
    node.SetParameter("Samples", "7")
    assert panel.ui.samplesSpinBox.value == 7
    node.SetParameter("Samples", "")
    assert panel.ui.samplesSpinBox.text == "as the model"


def test_each_model_has_its_inputs_and_other_grids_are_named(panel, volume):
    import host
    import slicer

    pet = addPhantom("SUV body", spacing=5.0)
    host.choose(panel.ui.modelSelector, "Two inputs for tests")
    host.process_events()
    parameters = panel.panel.parameters
    assert (parameters.input("CT"), parameters.input("PET")) == (volume, pet)
    assert panel.ui.gridNoteLabel.visible
    assert panel.ui.gridNoteLabel.text == "PET: on another grid, will be resampled to CT."
    names = [child.objectName for child in panel.parent.findChildren(slicer.qMRMLNodeComboBox)]
    assert {"inputSelectorCT", "inputSelectorPET"} <= set(names)

    host.choose(panel.ui.modelSelector, "Tiny network for tests")
    host.process_events()
    names = [child.objectName for child in panel.parent.findChildren(slicer.qMRMLNodeComboBox)]
    assert "inputSelectorPET" not in names
    assert not panel.ui.gridNoteLabel.visible


def test_a_new_region_starts_round_the_volume(panel, volume):
    import slicer

    panel.ui.regionSelector.addNode()
    roi = panel.panel.parameters.roi
    assert roi.IsA("vtkMRMLMarkupsROINode")
    wanted, found = [0.0] * 6, [0.0] * 6
    volume.GetRASBounds(wanted)
    roi.GetRASBounds(found)
    assert found == pytest.approx(wanted, abs=0.01)
    slicer.mrmlScene.RemoveNode(roi)
    assert panel.panel.parameters.roi is None


def test_missing_packages_are_named_and_can_be_installed(panel, volume, monkeypatch):
    import host
    from SegDLLib import dependencies

    absent = [dependencies.Requirement("torch", "2.3"), dependencies.Requirement("edt", "2.4")]
    asked = []

    def install():
        asked.append(True)
        absent.clear()
        return []

    monkeypatch.setattr(dependencies, "missing", lambda: list(absent))
    monkeypatch.setattr(dependencies, "install", install)
    panel.enter()
    assert panel.ui.dependencyFrame.visible
    assert "torch>=2.3, edt>=2.4" in panel.ui.dependencyLabel.text
    assert not panel.ui.runButton.enabled
    assert asked == [], "nothing is installed unasked"
    host.click(panel.ui.installButton)
    assert asked == [True]
    assert not panel.ui.dependencyFrame.visible
    assert panel.ui.runButton.enabled


def test_the_self_test_of_the_module_passes(slicer_app, loaded, capsys):
    import slicer

    loaded.module.SegDLTest().runTest()
    assert "Volumes go to the engine and back." in capsys.readouterr().out
    assert slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")


def test_reload_leaves_no_observer_and_no_process(slicer_app, modelsFolder, loaded):
    import host

    old = loaded.widget
    host.choose(old.ui.modelSelector, "Tiny network for tests")
    addPhantom("CT phantom")
    host.wait_for(lambda: old.ui.runButton.enabled, 10)
    startLongRun(old)
    pid = old.logic.segmenter.engine.pid
    new = loaded.reload()

    assert new is not old
    assert old.Observations == []
    assert not old.logic.segmenter.busy
    assert jobFolders() == []
    stat = Path(f"/proc/{pid}/stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"
    host.process_events()
    assert new.ui.runButton.enabled
    assert new.panel.parameters.model == TINY
