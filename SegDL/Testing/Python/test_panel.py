"""The panel as a user meets it: real .ui, widgets and scene on the host, real worker with a tiny model."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.host

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


def test_a_click_gives_progress_and_results(panel, volume, tmp_path):
    import host
    import slicer

    composite = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    ui, seen = panel.ui, []
    ui.progressBar.connect("valueChanged(int)", seen.append)
    run(panel, 30)
    assert ui.runButton.text == "Cancel"
    assert ui.progressBar.visible
    assert not ui.modelSelector.enabled
    host.wait_for(lambda: "inference" in ui.statusLabel.text and " left" in ui.statusLabel.text, 120)
    host.wait_for(lambda: not panel.logic.segmenter.busy, 120)

    assert ui.runButton.text == "Segment tumor"
    assert not ui.progressBar.visible
    assert seen == sorted(seen)
    assert seen[-1] == 1000
    segmentation = panel.panel.parameters.result
    lesions = panel.logic.lesionTable(segmentation)
    assert ui.resultSelector.currentNode() is segmentation
    assert ui.lesionTable.rowCount == lesions.GetNumberOfRows() > 0
    assert ui.lesionTable.item(0, 0).text() == "Tumour 1"
    assert ui.lesionTable.horizontalHeaderItem(3).text() == "Mean [HU]"
    assert float(ui.lesionTable.item(0, 1).text()) == pytest.approx(
        float(lesions.GetCellText(0, lesions.GetColumnIndex("volume_ml"))), abs=0.01
    )
    assert f"{ui.lesionTable.rowCount} lesion" in ui.statusLabel.text
    assert composite.GetForegroundVolumeID() == panel.logic.uncertaintyVolume(segmentation).GetID()
    assert host.screenshot(panel.parent, tmp_path / "panel.png").stat().st_size > 5000


def test_lesions_with_uptake_show_their_suv_max(panel, volume):
    runToEnd(panel, 0)
    lesions = [{**row, "suv_mean": 3.2, "suv_max": 8.46} for row in panel.panel._lesions()]
    panel.panel._results.show(panel.panel.parameters.result, lesions, "HU", False)
    table = panel.ui.lesionTable
    assert table.horizontalHeaderItem(3).text() == "SUVmax"
    assert table.item(0, 3).text() == "8.5"


def test_a_click_on_a_lesion_centres_the_views(panel, volume):
    import host
    import slicer

    view = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceNode", "Red")
    view.SetLayoutName("Red")
    view.SetOrientation("Axial")
    runToEnd(panel, 0)
    host.click_cell(panel.ui.lesionTable, 0)
    table = panel.logic.lesionTable(panel.panel.parameters.result)
    wanted = [float(table.GetCellText(0, table.GetColumnIndex(f"centroid_{axis}"))) for axis in "ras"]
    found = [view.GetSliceToRAS().GetElement(row, 3) for row in range(3)]
    assert found == pytest.approx(wanted, abs=0.01)


def test_the_overlay_follows_its_controls(panel, volume):
    import host
    import slicer
    from SegDLLib.uncertainty import thresholdOf

    composite = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    runToEnd(panel, 4)
    ui = panel.ui
    uncertainty = panel.logic.uncertaintyVolume(panel.panel.parameters.result)
    ui.overlayOpacitySlider.setValue(0.25)
    assert composite.GetForegroundOpacity() == pytest.approx(0.25)
    ui.overlayThresholdSlider.setValue(ui.overlayThresholdSlider.maximum / 2)
    assert thresholdOf(uncertainty) == pytest.approx(ui.overlayThresholdSlider.value, rel=1e-3)
    host.click(ui.overlayCheckBox)
    assert composite.GetForegroundVolumeID() is None
    assert not ui.overlayOpacitySlider.isEnabled()
    host.click(ui.overlayCheckBox)
    assert composite.GetForegroundVolumeID() == uncertainty.GetID()


def test_without_samples_there_is_nothing_to_overlay(panel, volume):
    runToEnd(panel, 0)
    assert not panel.ui.overlayCheckBox.enabled
    assert panel.ui.lesionTable.item(0, 4).text() == "-"


def test_show_3d_makes_and_removes_surfaces(panel, volume):
    import host

    runToEnd(panel, 0)
    segments = panel.panel.parameters.result.GetSegmentation()
    host.click(panel.ui.show3DCheckBox)
    assert segments.ContainsRepresentation("Closed surface")
    host.click(panel.ui.show3DCheckBox)
    assert not segments.ContainsRepresentation("Closed surface")


def test_segments_are_shown_and_open_in_the_segment_editor(panel, volume):
    import host
    import slicer

    plain = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn by hand")
    runToEnd(panel, 0)
    result = panel.panel.parameters.result
    assert panel.ui.segmentsTable.segmentationNode() is result
    assert panel.ui.segmentsTable.segmentCount == 1
    panel.ui.resultSelector.setCurrentNode(plain)
    assert panel.ui.resultSelector.currentNode() is not plain, "only results have lesions to show"
    panel.ui.resultSelector.setCurrentNode(result)

    host.click(panel.ui.editButton)
    editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
    assert editor.segmentationNode() is result
    assert editor.sourceVolumeNode() is volume
    slicer.util.selectModule("SegDL")


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
