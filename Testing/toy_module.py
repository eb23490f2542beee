"""A small scripted module, written to a folder the way a real one lies there; for tests of the host."""

from __future__ import annotations

from pathlib import Path

SOURCE = """
import numpy as np
import qt
import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin


class Toy(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Toy")
        self.parent.categories = ["Segmentation"]


class ToyWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    version = 1

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.entered = 0

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/Toy.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = ToyLogic()
        self.ui.inputSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.update)
        self.ui.thresholdSlider.connect("valueChanged(double)", self.storeThreshold)
        self.ui.applyButton.connect("clicked(bool)", self.onApply)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onClose)
        self.update()

    def cleanup(self):
        self.removeObservers()

    def enter(self):
        self.entered += 1

    def storeThreshold(self, value):
        self.logic.getParameterNode().SetParameter("threshold", str(value))

    def onClose(self, caller, event):
        self.ui.statusLabel.text = "scene closed"

    def update(self, node=None):
        self.ui.applyButton.enabled = self.ui.inputSelector.currentNode() is not None

    def onApply(self):
        with slicer.util.tryWithErrorDisplay(_("Segmentation failed."), waitCursor=True):
            volume = self.ui.inputSelector.currentNode()
            self.segmentation, voxels = self.logic.segment(volume, self.ui.thresholdSlider.value)
            self.ui.progressBar.value = 100
            self.ui.statusLabel.text = f"{voxels} voxels"


class ToyLogic(ScriptedLoadableModuleLogic):
    def segment(self, volume, threshold):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Toy result")
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        mask = (slicer.util.arrayFromVolume(volume) > threshold).astype(np.uint8)
        if not mask.any():
            raise ValueError("nothing lies above the threshold")
        segment = node.GetSegmentation().AddEmptySegment("", "Lesion")
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, segment, volume)
        return node, int(mask.sum())


class ToyTest(ScriptedLoadableModuleTest):
    prepared = []

    @classmethod
    def setUpClass(cls):
        cls.prepared.append("class")

    def setUp(self):
        slicer.mrmlScene.Clear(0)

    def test_logic(self):
        self.delayDisplay("segmenting")
        volume = slicer.util.addVolumeFromArray(np.arange(24, dtype=np.int16).reshape(2, 3, 4))
        self.assertEqual(ToyLogic().segment(volume, 19.5)[1], 4)

    def test_failure(self):
        volume = slicer.util.addVolumeFromArray(np.zeros((2, 3, 4), np.int16))
        self.assertRaises(ValueError, ToyLogic().segment, volume, 1)
"""

UI = """<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0">
 <class>Toy</class>
 <widget class="qMRMLWidget" name="Toy">
  <layout class="QVBoxLayout" name="verticalLayout">
   <item>
    <widget class="ctkCollapsibleButton" name="inputsCollapsibleButton">
     <property name="text"><string>Inputs</string></property>
     <layout class="QFormLayout" name="formLayout">
      <item row="0" column="0"><widget class="QLabel" name="inputLabel">
       <property name="text"><string>CT:</string></property></widget></item>
      <item row="0" column="1"><widget class="qMRMLNodeComboBox" name="inputSelector">
       <property name="nodeTypes"><stringlist notr="true"><string>vtkMRMLScalarVolumeNode</string></stringlist></property>
       <property name="addEnabled"><bool>false</bool></property></widget></item>
      <item row="1" column="1"><widget class="ctkSliderWidget" name="thresholdSlider">
       <property name="maximum"><double>1000.0</double></property>
       <property name="value"><double>50.0</double></property></widget></item>
     </layout>
    </widget>
   </item>
   <item><widget class="QPushButton" name="applyButton">
    <property name="enabled"><bool>false</bool></property>
    <property name="text"><string>Segment</string></property></widget></item>
   <item><widget class="QProgressBar" name="progressBar"><property name="value"><number>0</number></property></widget></item>
   <item><widget class="QLabel" name="statusLabel"/></item>
   <item><spacer name="spacer"><property name="orientation"><enum>Qt::Vertical</enum></property></spacer></item>
  </layout>
 </widget>
 <customwidgets>
  <customwidget><class>qMRMLWidget</class><extends>QWidget</extends><header>qMRMLWidget.h</header><container>1</container></customwidget>
  <customwidget><class>ctkCollapsibleButton</class><extends>QWidget</extends><header>ctkCollapsibleButton.h</header><container>1</container></customwidget>
  <customwidget><class>ctkSliderWidget</class><extends>QWidget</extends><header>ctkSliderWidget.h</header></customwidget>
  <customwidget><class>qMRMLNodeComboBox</class><extends>QWidget</extends><header>qMRMLNodeComboBox.h</header></customwidget>
 </customwidgets>
 <resources/>
 <connections>
  <connection>
   <sender>Toy</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
   <receiver>inputSelector</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot>
  </connection>
 </connections>
</ui>
"""  # noqa: E501


def write_toy_module(folder: Path) -> Path:
    """Write the module and its ``.ui`` file; returns the path of the module."""
    resources = folder / "Toy" / "Resources" / "UI"
    resources.mkdir(parents=True)
    (resources / "Toy.ui").write_text(UI, encoding="utf-8")
    path = folder / "Toy" / "Toy.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path
