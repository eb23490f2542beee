"""The uncertainty of a result as a float volume, and its overlay on the slice views."""

from __future__ import annotations

import slicer
from SegDLEngine.images.image import Image

from SegDLLib.nodes import volumeFromImage

# Which map of a result is shown as its uncertainty, the best first.
PREFERRED = ("std", "entropy", "mutual_information")

_COLOURS = "vtkMRMLColorTableNodeIron"
_QUANTITIES = {
    "std": "Standard deviation of the foreground probability",
    "entropy": "Predictive entropy",
    "mutual_information": "Mutual information of prediction and network",
}
_CODES = {
    "std": ("386136009", "SCT", "Standard deviation"),
    "entropy": ("entropy", "99SEGDL", "Entropy"),
    "mutual_information": ("mutual-information", "99SEGDL", "Mutual information"),
}
_NATS = ("{nat}", "UCUM", "nat")
_UNITS = {"std": ("1", "UCUM", "no units"), "entropy": _NATS, "mutual_information": _NATS}

# Of the map's maximum; below it the overlay is transparent, so that only what deserves a look is coloured.
DEFAULT_THRESHOLD = 0.2


def volumeFromMap(image: Image, kind: str, name: str, volumeNode):
    """A float32 volume node of the map ``kind``, one of ``PREFERRED``, on the grid of ``volumeNode``."""
    node = volumeFromImage(image, name, placeAs=volumeNode)
    node.SetAttribute("SegDL.Map", kind)
    node.SetVoxelValueQuantity(_coded(*_CODES[kind]))
    node.SetVoxelValueUnits(_coded(*_UNITS[kind]))
    node.SetDescription(_QUANTITIES[kind])
    top = maximumOf(node)
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(_COLOURS)
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0.0, top)
    setThreshold(node, DEFAULT_THRESHOLD * top)
    return node


def setThreshold(node, lowest: float) -> None:
    """Make voxels below ``lowest`` transparent; zero always is."""
    top = maximumOf(node)
    display = node.GetDisplayNode()
    display.AutoThresholdOff()
    display.SetThreshold(max(float(lowest), top * 1e-6), top)
    display.ApplyThresholdOn()


def thresholdOf(node) -> float:
    return node.GetDisplayNode().GetLowerThreshold()


def maximumOf(node) -> float:
    """The map's largest value; a tiny positive number for a map of zeros, so that windows stay valid."""
    return max(float(node.GetImageData().GetScalarRange()[1]), 1e-6)


def showOverlay(node, opacity: float = 0.6) -> None:
    """Show the volume in the foreground of all slice views with ``opacity`` 0..1."""
    slicer.util.setSliceViewerLayers(foreground=node, foregroundOpacity=opacity)


def hideOverlay(node) -> None:
    """Take the volume out of those slice views that show it; what else lies there stays."""
    scene = slicer.mrmlScene
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")):
        composite = scene.GetNthNodeByClass(index, "vtkMRMLSliceCompositeNode")
        if composite.GetForegroundVolumeID() == node.GetID():
            composite.SetForegroundVolumeID(None)


def _coded(value: str, scheme: str, meaning: str):
    entry = slicer.vtkCodedEntry()
    entry.SetValueSchemeMeaning(value, scheme, meaning)
    return entry
