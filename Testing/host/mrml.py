"""A MRML scene with its logics, as the application has it, on the ``slicer-core`` wheel.

No Qt: this much runs wherever Python and the wheel do.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import slicer
import slicer_core
import vtk

from host import requirements

LOGICS = {
    "Volumes": "vtkSlicerVolumesLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Models": "vtkSlicerModelsLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "CropVolume": "vtkSlicerCropVolumeLogic",
}
"""Modules of Slicer whose logic is in the wheel and of use without the application, with its class.

Terminologies is left out: the wheel has no terminology files, and the logic only prints errors without them.
"""

ITEM_CLASSES = (
    "vtkMRMLDisplayableNode",
    "vtkMRMLTableNode",
    "vtkMRMLTextNode",
    "vtkMRMLPlotChartNode",
    "vtkMRMLPlotSeriesNode",
    "vtkMRMLSequenceNode",
    "vtkMRMLSequenceBrowserNode",
)
"""Nodes that the application's plugins give an item in the subject hierarchy."""


class BuiltInModule:
    """``slicer.modules.volumes``: a module of Slicer reduced to its logic."""

    def __init__(self, name: str, logic: Any) -> None:
        self.name = self.title = name
        self.path = ""
        self._logic = logic

    def logic(self) -> Any:
        return self._logic


class MRMLWorld:
    """The scene, the application logic and the modules' logics, kept alive together."""

    def __init__(self) -> None:
        requirements.choose_opengl_window()
        alias_kits()
        _send_vtk_messages_to_stderr()
        self.scene = slicer.vtkMRMLScene()
        self.temporary_folder = tempfile.mkdtemp(prefix="host-")
        crosshair = slicer.vtkMRMLCrosshairNode()
        crosshair.SetCrosshairName("default")
        self.scene.AddNode(crosshair)
        self.application_logic = _application_logic(self.scene)
        self.modules = self._module_logics()
        self._remote = self._data_input_output()
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.scene, True)
        self._layout_logic = slicer.vtkMRMLLayoutLogic()
        self._layout_logic.SetMRMLScene(self.scene)
        mirror_subject_hierarchy(self.scene)

    def module_logic(self, name: str) -> Any:
        """The logic of a module of Slicer by its name, e.g. "Volumes"; None if the host has no such."""
        module = self.modules.get(name.lower())
        return module.logic() if module else None

    def _module_logics(self) -> dict[str, BuiltInModule]:
        color = self.application_logic.GetColorLogic()
        color.SetMRMLScene(self.scene)
        color.AddDefaultColorNodes()
        self.application_logic.SetModuleLogic("Colors", color)
        modules = {"colors": BuiltInModule("Colors", color)}
        for name, class_name in LOGICS.items():
            logic = getattr(slicer, class_name)()
            if hasattr(logic, "SetModuleShareDirectory"):
                logic.SetModuleShareDirectory("")
            logic.SetMRMLScene(self.scene)
            logic.SetMRMLApplicationLogic(self.application_logic)
            self.application_logic.SetModuleLogic(name, logic)
            modules[name.lower()] = BuiltInModule(name, logic)
        return modules

    def _data_input_output(self) -> tuple[Any, Any]:
        """Cache and data manager, without which the scene cannot read a scene bundle (.mrb)."""
        remote = slicer.vtkMRMLRemoteIOLogic()
        remote.SetMRMLScene(self.scene)
        remote.SetMRMLApplicationLogic(self.application_logic)
        cache = Path(self.temporary_folder) / "cache"
        cache.mkdir()
        remote.GetCacheManager().SetRemoteCacheDirectory(str(cache))
        manager = slicer.vtkDataIOManagerLogic()
        manager.SetMRMLScene(self.scene)
        manager.SetMRMLApplicationLogic(self.application_logic)
        manager.SetAndObserveDataIOManager(remote.GetDataIOManager())
        remote.AddDataIOToScene()
        return remote, manager


def alias_kits() -> None:
    """Make ``import vtkITK``, ``import vtkSegmentationCore`` and the like work as in the application."""
    for info in pkgutil.iter_modules(slicer_core.__path__):
        if info.name.startswith(("vtk", "MRML")):
            module = importlib.import_module(f"slicer_core.{info.name}")
            base = info.name.removesuffix("Python")
            sys.modules.setdefault(base, module)
            sys.modules.setdefault(f"{base}Python", module)


def mirror_subject_hierarchy(scene: Any) -> None:
    """Give data nodes an item in the subject hierarchy as they come, as the application's plugins do."""

    def add(node: Any) -> None:
        if scene.IsImporting() or node.GetHideFromEditors():
            return
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
        wanted = any(node.IsA(name) for name in ITEM_CLASSES)
        if wanted and hierarchy and not hierarchy.GetItemByDataNode(node):
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def on_added(_scene: Any, _event: str, node: Any) -> None:
        add(node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def on_removed(_scene: Any, _event: str, node: Any) -> None:
        if scene.IsClosing():
            return
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
        item = hierarchy.GetItemByDataNode(node) if hierarchy else 0
        if item:
            hierarchy.RemoveItem(item, False, False)

    def on_imported(_scene: Any, _event: str) -> None:
        for index in range(scene.GetNumberOfNodes()):
            add(scene.GetNthNode(index))

    def on_closed(_scene: Any, _event: str) -> None:
        slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)  # makes it, as the application does

    # The module's own logic rebuilds the hierarchy after an import; items are completed after that.
    last = -10.0
    scene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, on_added)
    scene.AddObserver(slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent, on_removed)
    scene.AddObserver(slicer.vtkMRMLScene.EndImportEvent, on_imported, last)
    scene.AddObserver(slicer.vtkMRMLScene.EndCloseEvent, on_closed, last)
    on_closed(scene, "")


def modules_namespace(world: MRMLWorld) -> types.ModuleType:
    """The module ``slicer.modules`` with the built-in modules of the host."""
    namespace = types.ModuleType("slicer.modules")
    vars(namespace).update(world.modules)
    return namespace


def _application_logic(scene: Any) -> Any:
    logic = slicer.vtkSlicerApplicationLogic()
    logic.SetMRMLScene(scene)
    logic.SetSliceLogics(vtk.vtkCollection())
    logic.SetViewLogics(vtk.vtkCollection())
    slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance().SetMRMLApplicationLogic(logic)
    slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance().SetMRMLApplicationLogic(logic)
    return logic


def _send_vtk_messages_to_stderr() -> None:
    window = vtk.vtkOutputWindow()
    window.SetDisplayModeToAlwaysStdErr()
    vtk.vtkOutputWindow.SetInstance(window)
