"""qMRMLNodeComboBox: chooses a node of the scene."""

from __future__ import annotations

from typing import Any

from PySide6 import QtWidgets

from host.widgets.base import Observers, Property, SceneWidget, compact_layout

ADD = "\0add"
"""Item data of the entry that creates a node; no node id starts with a null character."""


class qMRMLNodeComboBox(SceneWidget):
    """Lists the scene's nodes of ``nodeTypes``, with entries for none and for a new node.

    Without a scene it is disabled and empty, as in Slicer.  Without ``noneEnabled`` the first node that
    appears is chosen.  During a scene import or a batch change the list waits for the end.
    """

    EMITS = frozenset(
        {
            "currentNodeChanged(vtkMRMLNode*)",
            "currentNodeChanged(bool)",
            "currentNodeIDChanged(QString)",
            "currentNodeRenamed(QString)",
            "nodeActivated(vtkMRMLNode*)",
            "nodeAdded(vtkMRMLNode*)",
            "nodeAddedByUser(vtkMRMLNode*)",
            "nodeAboutToBeRemoved(vtkMRMLNode*)",
        }
    )

    def _rebuild(self, *_arguments: Any) -> None:
        if self._filling or (self._scene is not None and self._scene.IsBatchProcessing()):
            return
        self._fill()
        nodes = self._nodes()
        kept = next((node for node in nodes if node is self._current), None)
        if kept is None and not self.noneEnabled and nodes:
            kept = nodes[0]
        self.setCurrentNode(kept)

    nodeTypes = Property("QStringList", (), _rebuild)
    hideChildNodeTypes = Property("QStringList", (), _rebuild)
    noneEnabled = Property("bool", False, _rebuild)
    noneDisplay = Property("QString", "None", _rebuild)
    addEnabled = Property("bool", True, _rebuild)
    removeEnabled = Property("bool", True)
    renameEnabled = Property("bool", False)
    editEnabled = Property("bool", False)
    baseName = Property("QString", "")
    showHidden = Property("bool", False, _rebuild)
    showChildNodeTypes = Property("bool", True, _rebuild)
    selectNodeUponCreation = Property("bool", True)
    interactionNodeSingletonTag = Property("QString", "")

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._current: Any = None
        self._filling = False
        self._attributes: list[tuple[str, str, Any]] = []
        self._labels: dict[str, str] = {}
        self._scene_observers, self._node_observers = Observers(self), Observers(self)
        self._combo = QtWidgets.QComboBox(self)
        compact_layout(self, self._combo)
        self._combo.activated.connect(self._picked)
        self.setEnabled(False)

    def scene_changed(self, previous: Any, scene: Any) -> None:
        self._scene_observers.clear()
        if scene is not None:
            for event in (
                scene.NodeAddedEvent,
                scene.NodeRemovedEvent,
                scene.EndBatchProcessEvent,
                scene.EndCloseEvent,
                scene.EndImportEvent,
            ):
                self._scene_observers.add(scene, event, self._rebuild)
        self.setEnabled(scene is not None)
        self._rebuild()

    def nodeCount(self) -> int:
        return len(self._nodes())

    def nodeFromIndex(self, index: int) -> Any:
        nodes = self._nodes()
        return nodes[index] if 0 <= index < len(nodes) else None

    def currentNode(self) -> Any:
        return self._current

    @property
    def currentNodeID(self) -> str:
        return self._current.GetID() if self._current else ""

    @currentNodeID.setter
    def currentNodeID(self, node_id: str) -> None:
        self.setCurrentNodeID(node_id)

    currentNodeId = currentNodeID

    def setCurrentNodeID(self, node_id: str) -> None:
        self.setCurrentNode(self._scene.GetNodeByID(node_id) if self._scene and node_id else None)

    def setCurrentNodeIndex(self, index: int) -> None:
        self.setCurrentNode(self.nodeFromIndex(index))

    def setCurrentNode(self, node: Any) -> None:
        """Choose a node or, with None, none; a node that the list does not show counts as none."""
        if isinstance(node, str):
            self.setCurrentNodeID(node)
            return
        if node is not None and not any(item is node for item in self._nodes()):
            node = None
        self._filling = True
        self._combo.setCurrentIndex(self._combo.findData(node.GetID()) if node else self._none_index())
        self._filling = False
        if node is self._current:
            return
        self._current = node
        self._observe_current()
        self.emit_signal("currentNodeChanged(vtkMRMLNode*)", node)
        self.emit_signal("currentNodeChanged(bool)", node is not None)
        self.emit_signal("currentNodeIDChanged(QString)", self.currentNodeID)

    def addNode(self, nodeType: str = "") -> Any:
        """Create a node, as the entry "Create new ..." does."""
        name = self.baseName or self.nodeTypeLabel(nodeType or self.nodeTypes[0])
        node = self._scene.AddNewNodeByClass(
            nodeType or self.nodeTypes[0], self._scene.GenerateUniqueName(name)
        )
        for node_type, attribute, value in self._attributes:
            if node.IsA(node_type):
                node.SetAttribute(attribute, str(value))
        self._rebuild()
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        self.emit_signal("nodeAdded(vtkMRMLNode*)", node)
        self.emit_signal("nodeAddedByUser(vtkMRMLNode*)", node)
        return node

    def removeCurrentNode(self) -> None:
        if self._current is not None:
            self.emit_signal("nodeAboutToBeRemoved(vtkMRMLNode*)", self._current)
            self._scene.RemoveNode(self._current)

    def addAttribute(self, nodeType: str, attributeName: str, attributeValue: Any = None) -> None:
        """Show nodes of a class only if they have the attribute, with this value unless it is None."""
        self._attributes.append((nodeType, attributeName, attributeValue))
        self._rebuild()

    def removeAttribute(self, nodeType: str, attributeName: str) -> None:
        self._attributes = [item for item in self._attributes if item[:2] != (nodeType, attributeName)]
        self._rebuild()

    def nodeTypeLabel(self, nodeType: str) -> str:
        if nodeType in self._labels or self._scene is None:
            return self._labels.get(nodeType, nodeType)
        return self._scene.GetTypeDisplayNameByClassName(nodeType) or nodeType

    def setNodeTypeLabel(self, label: str, nodeType: str) -> None:
        self._labels[nodeType] = label
        self._rebuild()

    def _nodes(self) -> list[Any]:
        if self._scene is None or not self.nodeTypes:
            return []
        nodes = (self._scene.GetNthNode(index) for index in range(self._scene.GetNumberOfNodes()))
        return [node for node in nodes if self._shows(node)]

    def _shows(self, node: Any) -> bool:
        if node.GetHideFromEditors() and not self.showHidden:
            return False
        if not any(
            node.IsA(kind) if self.showChildNodeTypes else node.GetClassName() == kind
            for kind in self.nodeTypes
        ):
            return False
        if any(node.IsA(kind) for kind in self.hideChildNodeTypes):
            return False
        for kind, name, value in self._attributes:
            found = node.GetAttribute(name)
            if node.IsA(kind) and (found is None or (value is not None and found != str(value))):
                return False
        return True

    def _fill(self) -> None:
        self._filling = True
        self._combo.clear()
        if self.noneEnabled and self._scene is not None:
            self._combo.addItem(self.noneDisplay, None)
        for node in self._nodes():
            self._combo.addItem(node.GetName() or "", node.GetID())
        if self.addEnabled and self._scene is not None:
            for kind in self.nodeTypes:
                self._combo.addItem(f"Create new {self.nodeTypeLabel(kind)}", ADD + kind)
        self._filling = False

    def _none_index(self) -> int:
        return 0 if self.noneEnabled and self._combo.count() else -1

    def _observe_current(self) -> None:
        self._node_observers.clear()
        if self._current is not None:
            self._node_observers.add(self._current, "ModifiedEvent", self._renamed)

    def _renamed(self, node: Any, _event: str) -> None:
        index = self._combo.findData(node.GetID())
        if index >= 0 and self._combo.itemText(index) != node.GetName():
            self._combo.setItemText(index, node.GetName())
            self.emit_signal("currentNodeRenamed(QString)", node.GetName())

    def _picked(self, index: int) -> None:
        data = self._combo.itemData(index) or ""
        if data.startswith(ADD):
            self.addNode(data.removeprefix(ADD))
        else:
            self.setCurrentNodeID(data)
        if self._current is not None:
            self.emit_signal("nodeActivated(vtkMRMLNode*)", self._current)
