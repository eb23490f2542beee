"""The stand-in widgets work on the scene as Slicer's do."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.host


@pytest.fixture
def slicer(slicer_app):
    import slicer
    import slicer.util

    return slicer


def volume(slicer, name, labels=False):
    kind = "vtkMRMLLabelMapVolumeNode" if labels else "vtkMRMLScalarVolumeNode"
    return slicer.util.addVolumeFromArray(np.zeros((2, 3, 4), np.int16), name=name, nodeClassName=kind)


def segmentation(slicer, *names):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Tumours")
    node.CreateDefaultDisplayNodes()
    for name in names:
        node.GetSegmentation().AddEmptySegment(name, name)
    return node


# qMRMLNodeComboBox


@pytest.fixture
def combo(slicer):
    combo = slicer.qMRMLNodeComboBox()
    combo.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    combo.addEnabled = False
    combo.setMRMLScene(slicer.mrmlScene)
    return combo


def test_selector_without_a_scene_is_dead(slicer):
    volume(slicer, "CT")
    combo = slicer.qMRMLNodeComboBox()
    combo.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    assert (combo.enabled, combo.nodeCount(), combo.currentNode()) == (False, 0, None)


def test_selector_values_have_the_types_of_slicer(combo):
    assert combo.nodeTypes == ("vtkMRMLScalarVolumeNode",)
    assert (combo.currentNodeID, combo.currentNodeId) == ("", "")
    with pytest.raises(AttributeError, match="does not accept"):
        combo.nodeTypes = "vtkMRMLScalarVolumeNode"
    with pytest.raises(AttributeError, match="does not accept"):
        combo.noneEnabled = "yes"


def test_selector_chooses_the_first_node_and_follows_removal(slicer, combo):
    seen = []
    combo.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: seen.append(node and node.GetName()))
    first, second = volume(slicer, "CT"), volume(slicer, "PET")
    assert (combo.nodeCount(), combo.currentNode()) == (2, first)
    slicer.mrmlScene.RemoveNode(first)
    assert combo.currentNode() is second
    slicer.mrmlScene.Clear(False)
    assert seen == ["CT", "PET", None]


def test_selector_with_none_waits_for_the_user(slicer, combo):
    import host

    combo.noneEnabled = True
    combo.show()
    node = volume(slicer, "CT")
    assert combo.currentNode() is None
    host.choose(combo, "CT")
    assert combo.currentNode() is node
    host.choose(combo, "None")
    assert combo.currentNodeID == ""


def test_selector_filters_by_class_attribute_and_visibility(slicer, combo):
    volume(slicer, "Labels", labels=True)
    ct, hidden = volume(slicer, "CT"), volume(slicer, "Hidden")
    hidden.SetHideFromEditors(True)
    combo.showChildNodeTypes = False
    assert [combo.nodeFromIndex(0)] == [ct]
    assert combo.nodeCount() == 1
    combo.showChildNodeTypes = True
    assert combo.nodeCount() == 2
    combo.hideChildNodeTypes = ["vtkMRMLLabelMapVolumeNode"]
    assert combo.nodeCount() == 1
    combo.addAttribute("vtkMRMLScalarVolumeNode", "Modality", "PT")
    assert combo.nodeCount() == 0
    ct.SetAttribute("Modality", "PT")
    combo.removeAttribute("vtkMRMLScalarVolumeNode", "Modality")
    assert combo.nodeCount() == 1


def test_selector_creates_renames_and_refuses_nodes_of_other_classes(slicer, combo):
    import host

    combo.nodeTypes = ["vtkMRMLSegmentationNode"]
    combo.addEnabled, combo.noneEnabled, combo.baseName = True, True, "Tumours"
    combo.show()
    added, renamed = [], []
    combo.connect("nodeAddedByUser(vtkMRMLNode*)", lambda node: added.append(node.GetName()))
    combo.connect("currentNodeRenamed(QString)", lambda name: renamed.append(name))
    host.choose(combo, "Create new Segmentation")
    assert added == ["Tumours"]
    combo.currentNode().SetName("Lesions")
    assert renamed == ["Lesions"]
    combo.setCurrentNode(volume(slicer, "CT"))
    assert combo.currentNode() is None


def test_selector_is_silent_while_signals_are_blocked(slicer, combo):
    seen = []
    combo.connect("currentNodeChanged(bool)", lambda valid: seen.append(valid))
    combo.blockSignals(True)
    node = volume(slicer, "CT")
    combo.blockSignals(False)
    assert combo.currentNode() is node
    assert seen == []


def test_a_user_cannot_use_what_is_disabled_or_hidden(slicer, combo):
    import host

    with pytest.raises(RuntimeError, match="not visible"):
        host.click(combo)
    combo.show()
    combo.enabled = False
    with pytest.raises(RuntimeError, match="disabled"):
        host.choose(combo, "None")


# numbers


def test_slider_keeps_range_precision_and_tells_changes_once(slicer):
    import ctk

    slider = ctk.ctkSliderWidget()
    slider.minimum, slider.maximum, slider.decimals, slider.singleStep = 0.0, 1.0, 2, 0.05
    seen = []
    slider.connect("valueChanged(double)", lambda value: seen.append(value))
    slider.value = 0.256
    slider.value = 0.26
    slider.setValue(7)
    assert slider.value == 1.0
    assert seen == [0.26, 1.0]
    slider.maximum = 0.5
    assert seen[-1] == slider.value == 0.5
    with pytest.raises(AttributeError, match="does not accept"):
        slider.value = "half"


def test_slider_follows_its_spin_box_and_its_handle(slicer):
    import ctk
    import qt

    slider = ctk.ctkSliderWidget()
    slider.findChild(qt.QDoubleSpinBox).setValue(12.5)
    assert slider.value == 12.5
    slider.findChild(qt.QSlider).setValue(500)
    assert abs(slider.value - 49.5) <= 0.5


def test_range_and_spin_box(slicer):
    import ctk

    interval, seen = ctk.ctkRangeWidget(), []
    interval.setRange(0, 10)
    interval.connect("valuesChanged(double,double)", lambda low, high: seen.append((low, high)))
    interval.setValues(2.0, 5.0)
    assert (interval.minimumValue, interval.maximumValue) == (2.0, 5.0)
    assert seen[-1] == (2.0, 5.0)

    spin, values = ctk.ctkDoubleSpinBox(), []
    spin.minimum, spin.maximum, spin.decimals = 0.0, 5.0, 1
    spin.connect("valueChanged(double)", lambda value: values.append(value))
    spin.value = 9.0
    assert (spin.value, values) == (5.0, [5.0])


def test_typing_into_a_line_edit(slicer):
    import host
    import qt

    edit, seen = qt.QLineEdit("old"), []
    edit.connect("editingFinished()", lambda: seen.append(edit.text))
    edit.show()
    host.type_text(edit, "new name")
    assert (edit.text, seen) == ("new name", ["new name"])


def test_clicking_a_cell_of_a_table(slicer):
    import host
    import qt

    table, seen = qt.QTableWidget(3, 2), []
    table.connect("cellClicked(int,int)", lambda row, column: seen.append((row, column)))
    table.resize(300, 200)
    table.show()
    host.click_cell(table, 2, 1)
    assert seen == [(2, 1)]
    with pytest.raises(RuntimeError, match="no cell in row 3"):
        host.click_cell(table, 3)


# containers


def test_collapsible_button_hides_its_contents_on_a_click(slicer):
    import ctk
    import host
    import qt

    box, seen = ctk.ctkCollapsibleButton(), []
    box.text = "Options"
    layout = qt.QVBoxLayout(box)
    label = qt.QLabel("inside")
    layout.addWidget(label)
    box.connect("contentsCollapsed(bool)", lambda collapsed: seen.append(collapsed))
    box.resize(200, 100)
    box.show()
    host.click(box)
    assert (box.collapsed, label.visible) == (True, False)
    box.collapsed = False
    assert (label.visible, seen) == (True, [True, False])


def test_collapsible_group_box(slicer):
    import ctk
    import qt

    box = ctk.ctkCollapsibleGroupBox()
    layout = qt.QVBoxLayout(box)
    label = qt.QLabel("inside")
    layout.addWidget(label)
    box.show()
    box.collapsed = True
    assert (label.visible, box.checked) == (False, False)
    box.checked = True
    assert (label.visible, box.collapsed) == (True, False)


# segments, tables, files


def test_segments_table_follows_and_edits_the_segmentation(slicer):
    import qt

    node = segmentation(slicer, "Lesion", "Lung")
    view = slicer.qMRMLSegmentsTableView()
    view.setMRMLScene(slicer.mrmlScene)
    view.setSegmentationNode(node)
    assert view.displayedSegmentIDs() == ("Lesion", "Lung")
    table = view.tableWidget()
    table.item(1, 0).setCheckState(qt.Qt.Unchecked)
    assert not node.GetDisplayNode().GetSegmentVisibility("Lung")
    table.item(0, 3).setText("Tumour 1")
    assert node.GetSegmentation().GetSegment("Lesion").GetName() == "Tumour 1"
    view.setSelectedSegmentIDs(["Lung"])
    assert view.selectedSegmentIDs() == ("Lung",)
    node.GetSegmentation().RemoveSegment("Lesion")
    assert (view.segmentCount, view.rowForSegmentID("Lung")) == (1, 0)
    assert isinstance(view, slicer.qMRMLWidget)


def test_segment_editor_opens_with_the_nodes_it_is_given(slicer):
    node, ct = segmentation(slicer, "Lesion"), volume(slicer, "CT")
    editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
    slicer.util.selectModule("SegmentEditor")
    editor.setSegmentationNode(node)
    editor.setSourceVolumeNode(ct)
    editor.setCurrentSegmentID("Lesion")
    stored = slicer.mrmlScene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
    assert stored.GetSegmentationNode() is editor.segmentationNode() is node
    assert stored.GetSourceVolumeNode() is editor.sourceVolumeNode() is ct
    assert slicer.util.mainWindow().moduleSelector().selectedModule == "SegmentEditor"


def test_table_view_shows_the_cells_of_a_table_node(slicer):
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "Lesions")
    for name in ("name", "volume_ml"):
        table.AddColumn().SetName(name)
    table.AddEmptyRow()
    view = slicer.qMRMLTableView()
    view.setMRMLTableNode(table)
    table.SetCellText(0, 1, "12.5")
    model = view.model()
    assert (model.rowCount(), model.columnCount()) == (1, 2)
    assert model.data(model.index(0, 1)) == "12.5"


def test_path_edit_tells_valid_paths_and_remembers_them(slicer, tmp_path):
    import ctk

    edit, seen = ctk.ctkPathLineEdit(), []
    edit.filters = ctk.ctkPathLineEdit.Dirs
    edit.settingKey = "HostTest/folder"
    edit.connect("currentPathChanged(QString)", lambda path: seen.append(path))
    edit.connect("validInputChanged(bool)", lambda valid: seen.append(valid))
    edit.currentPath = str(tmp_path)
    edit.addCurrentPathToHistory()
    assert seen == [str(tmp_path), True]
    edit.setCurrentPath(str(tmp_path / "absent"))
    assert seen[2:] == [str(tmp_path / "absent")]
    edit.setCurrentPath("")
    assert seen[3:] == [False], "ctk does not tell the empty path itself"
    edit.nameFilters = ["Tables (*.csv *.json)"]
    edit.setCurrentPath("table.txt")
    edit.setCurrentPath("table.csv")
    assert seen[4:] == ["table.csv", True]
    again = ctk.ctkPathLineEdit()
    again.settingKey = "HostTest/folder"
    assert again.currentPath == str(tmp_path)


# layout


def test_layout_manager_reaches_the_slice_views(slicer):
    node = volume(slicer, "CT")
    manager = slicer.app.layoutManager()
    assert set(manager.sliceViewNames()) == {"Red", "Yellow", "Green"}
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    for name in manager.sliceViewNames():
        widget = manager.sliceWidget(name)
        assert widget.mrmlSliceCompositeNode().GetBackgroundVolumeID() == node.GetID()
        assert widget.sliceLogic().GetSliceNode() is widget.mrmlSliceNode()
    slicer.modules.markups.logic().JumpSlicesToLocation(1.0, -2.0, 0.5, True)
    assert abs(manager.sliceWidget("Red").mrmlSliceNode().GetSliceOffset() - 0.5) < 1e-6
    slicer.util.resetThreeDViews()
    count = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSliceNode")
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    assert manager.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSliceNode") == count
