"""``slicer.app.coreIOManager()``: what ``slicer.util`` asks of it to load and to save nodes and scenes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import vtk

READERS = {
    "VolumeFile": ("vtkMRMLScalarVolumeNode", "vtkMRMLVolumeArchetypeStorageNode"),
    "SegmentationFile": ("vtkMRMLSegmentationNode", "vtkMRMLSegmentationStorageNode"),
    "SequenceFile": ("vtkMRMLSequenceNode", "vtkMRMLVolumeSequenceStorageNode"),
    "TableFile": ("vtkMRMLTableNode", "vtkMRMLTableStorageNode"),
    "ModelFile": ("vtkMRMLModelNode", "vtkMRMLModelStorageNode"),
    "MarkupsFile": ("vtkMRMLMarkupsFiducialNode", "vtkMRMLMarkupsJsonStorageNode"),
    "TextFile": ("vtkMRMLTextNode", "vtkMRMLTextStorageNode"),
    "ColorTableFile": ("vtkMRMLColorTableNode", "vtkMRMLColorTableStorageNode"),
    "TransformFile": ("vtkMRMLTransformNode", "vtkMRMLTransformStorageNode"),
}
"""Class of the node and of its storage node per file type of Slicer."""

EXTENSIONS = (
    ((".seg.nrrd", ".seg.nhdr", ".seg.vtm"), "SegmentationFile"),
    ((".seq.nrrd",), "SequenceFile"),
    ((".mrml", ".mrb"), "SceneFile"),
    ((".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha", ".mhd", ".dcm", ".tif", ".png"), "VolumeFile"),
    ((".csv", ".tsv"), "TableFile"),
    ((".mrk.json",), "MarkupsFile"),
    ((".ctbl",), "ColorTableFile"),
    ((".vtk", ".vtp", ".stl", ".obj", ".ply"), "ModelFile"),
    ((".h5", ".tfm"), "TransformFile"),
    ((".txt", ".json"), "TextFile"),
)
"""File types by extension, the first match counts."""


class CoreIOManager:
    """Reads and writes through the storage nodes of the wheel."""

    def __init__(self, scene: Any) -> None:
        self._scene = scene

    def fileType(self, file: str) -> str:
        """Slicer's name for the type of a file; "NoFile" for an unknown extension."""
        lower = str(file).lower()
        return next((kind for extensions, kind in EXTENSIONS if lower.endswith(extensions)), "NoFile")

    def loadNodes(
        self, fileType: str, parameters: Mapping[str, Any], loadedNodes: Any = None, userMessages: Any = None
    ) -> bool:
        """Load ``parameters["fileName"]``; the nodes are added to the collection ``loadedNodes``."""
        path = str(parameters["fileName"])
        if not os.path.exists(path):
            return _failed(userMessages, f"{path} does not exist")
        if fileType == "SceneFile":
            return self.loadScene(path, bool(parameters.get("clear")), userMessages)
        if fileType not in READERS:
            return _failed(userMessages, f"the host has no reader for {fileType} ({path})")
        node_class, storage_class = READERS[fileType]
        if parameters.get("labelmap"):
            node_class = "vtkMRMLLabelMapVolumeNode"
        name = parameters.get("name") or os.path.basename(path).split(".")[0]
        node = self._scene.AddNewNodeByClass(node_class, self._scene.GenerateUniqueName(name))
        storage = self._scene.AddNewNodeByClass(storage_class)
        storage.SetFileName(path)
        if not storage.ReadData(node):
            self._scene.RemoveNode(node)
            self._scene.RemoveNode(storage)
            return _failed(userMessages, f"{path} could not be read as {fileType}")
        node.SetAndObserveStorageNodeID(storage.GetID())
        if hasattr(node, "CreateDefaultDisplayNodes"):
            node.CreateDefaultDisplayNodes()
        if loadedNodes is not None:
            loadedNodes.AddItem(node)
        return True

    def loadScene(self, fileName: str, clear: bool = True, userMessages: Any = None) -> bool:
        """Read a scene (.mrml) or a scene bundle (.mrb), into an emptied scene when ``clear``."""
        if clear:
            self._scene.Clear(False)
        if str(fileName).lower().endswith(".mrb"):
            return bool(self._scene.ReadFromMRB(str(fileName), False, userMessages))
        self._scene.SetURL(str(fileName))
        return bool(self._scene.Import(userMessages))

    def saveScene(self, fileName: str, screenShot: Any = None, userMessages: Any = None) -> bool:
        """Write the scene as .mrml, or with all data as .mrb."""
        path = os.path.abspath(str(fileName))
        self._scene.SetURL(path)
        self._scene.SetRootDirectory(os.path.dirname(path))
        if path.lower().endswith(".mrb"):
            return bool(self._scene.WriteToMRB(path, None, userMessages))
        return bool(self._scene.Commit(path, userMessages))

    def saveNodes(
        self, fileType: str, parameters: Mapping[str, Any], userMessages: Any = None, scene: Any = None
    ) -> bool:
        """Write the node ``parameters["nodeID"]`` to ``parameters["fileName"]``."""
        path = str(parameters["fileName"])
        if fileType == "SceneFile":
            return self.saveScene(path, None, userMessages)
        node = (scene or self._scene).GetNodeByID(parameters["nodeID"])
        if node.GetStorageNode() is None:
            node.AddDefaultStorageNode(path)
        storage = node.GetStorageNode()
        storage.SetFileName(path)
        if "useCompression" in parameters:
            storage.SetUseCompression(parameters["useCompression"])
        return bool(storage.WriteData(node))

    def fileWriterFileType(self, node: Any, extension: str = "") -> str:
        """Slicer's name for the type of file in which a node is saved."""
        return next((kind for kind, classes in READERS.items() if node.IsA(classes[0])), "NoFile")

    def fileWriterExtensions(self, node: Any) -> list[str]:
        """Extensions, with their descriptions, that the node's default storage node writes."""
        storage = node.CreateDefaultStorageNode()
        if storage is None:
            return []
        types = storage.GetSupportedWriteFileTypes()
        return [types.GetValue(index) for index in range(types.GetNumberOfValues())]

    def addDefaultStorageNodes(self) -> None:
        """Give each storable node of the scene a storage node."""
        nodes = self._scene.GetNodesByClass("vtkMRMLStorableNode")
        for index in range(nodes.GetNumberOfItems()):
            node = nodes.GetItemAsObject(index)
            if node.GetStorageNode() is None and node.GetSaveWithScene():
                node.AddDefaultStorageNode()


def _failed(messages: Any, text: str) -> bool:
    if messages is not None:
        messages.AddMessage(vtk.vtkCommand.ErrorEvent, text)
    return False
