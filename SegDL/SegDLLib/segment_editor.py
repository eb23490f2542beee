"""Handing a result to Slicer's Segment Editor."""

from __future__ import annotations

import slicer


def openSegmentEditor(segmentationNode) -> None:
    """Switch to the Segment Editor with the segmentation and the volume it was made from."""
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    slicer.util.selectModule("SegmentEditor")
    editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
    editor.setSegmentationNode(segmentationNode)
    editor.setSourceVolumeNode(segmentationNode.GetNodeReference(role))
