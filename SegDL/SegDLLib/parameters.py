"""The panel's state, kept in a parameter node of the scene so that a saved scene opens as it was."""

from __future__ import annotations

from typing import Any

import slicer

# Node reference roles.
_INPUT, _ROI, _RESULT = "SegDL.Input.", "SegDL.Region", "SegDL.Result"


class _Text:
    def __init__(self, name: str, default: str):
        self.name, self.default = name, default

    def __get__(self, owner: Parameters | None, _type: Any = None) -> Any:
        return self if owner is None else owner.read(self.name, self.default)

    def __set__(self, owner: Parameters, value: str) -> None:
        owner.write(self.name, str(value))


class _Number:
    """A number, or None for the model's own choice."""

    def __init__(self, name: str, kind: type, default: float | None):
        self.name, self.kind, self.default = name, kind, default

    def __get__(self, owner: Parameters | None, _type: Any = None) -> Any:
        if owner is None:
            return self
        try:
            return self.kind(owner.read(self.name, ""))
        except ValueError:
            return self.default

    def __set__(self, owner: Parameters, value: float | None) -> None:
        owner.write(self.name, "" if value is None else repr(self.kind(value)))


class _Flag:
    def __init__(self, name: str, default: bool):
        self.name, self.default = name, default

    def __get__(self, owner: Parameters | None, _type: Any = None) -> Any:
        return self if owner is None else owner.read(self.name, str(int(self.default))) == "1"

    def __set__(self, owner: Parameters, value: bool) -> None:
        owner.write(self.name, str(int(bool(value))))


class Parameters:
    """Typed access to a vtkMRMLScriptedModuleNode; writing an equal value changes nothing.

    ``samples`` (passes) and ``minimumMl`` (ml) are None for the model's own choice; ``overlayOpacity`` 0..1.
    ``trainStart``: a model's id or a path, "" for random weights; ``trainSource``: files, scene or own;
    ``trainData`` and ``trainOutput`` are paths.
    """

    model = _Text("Model", "")
    device = _Text("Device", "auto")
    samples = _Number("Samples", int, None)
    minimumMl = _Number("MinimumMl", float, None)
    overlayVisible = _Flag("OverlayVisible", True)
    overlayOpacity = _Number("OverlayOpacity", float, 0.6)
    show3D = _Flag("Show3D", False)
    trainRecipe = _Text("Train.Recipe", "")
    trainStart = _Text("Train.Start", "")
    trainSource = _Text("Train.Source", "files")
    trainData = _Text("Train.Data", "")
    trainOutput = _Text("Train.Output", "")

    def __init__(self, node: Any):
        self.node = node

    def read(self, name: str, default: str) -> str:
        return self.node.GetParameter(name) or default

    def write(self, name: str, value: str) -> None:
        if self.node.GetParameter(name) != value:
            self.node.SetParameter(name, value)

    def input(self, name: str):
        """The volume node of an input, or None."""
        return self._reference(_INPUT + name)

    def setInput(self, name: str, node: Any) -> None:
        self._refer(_INPUT + name, node)

    @property
    def roi(self):
        """The ROI node of the region; None for the whole volume."""
        return self._reference(_ROI)

    @roi.setter
    def roi(self, node: Any) -> None:
        self._refer(_ROI, node)

    @property
    def result(self):
        """The segmentation node whose lesions are shown, or None."""
        return self._reference(_RESULT)

    @result.setter
    def result(self, node: Any) -> None:
        self._refer(_RESULT, node)

    def settings(self) -> dict[str, Any]:
        """The plain values by name, for a report."""
        names = ("model", "device", "samples", "minimumMl", "overlayVisible", "show3D")
        return {name: getattr(self, name) for name in names}

    def _reference(self, role: str):
        node = self.node.GetNodeReference(role)
        return node if node is not None and slicer.mrmlScene.IsNodePresent(node) else None

    def _refer(self, role: str, node: Any) -> None:
        identifier = node.GetID() if node is not None else None
        if self.node.GetNodeReferenceID(role) != identifier:
            self.node.SetNodeReferenceID(role, identifier)
