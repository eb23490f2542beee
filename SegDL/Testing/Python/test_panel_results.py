"""A click in the panel and what it gives: progress, segments, lesions, overlay and surfaces."""

from __future__ import annotations

import pytest
from panel_fixtures import run, runToEnd

pytestmark = pytest.mark.host


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
