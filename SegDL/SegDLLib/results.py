"""A result of the engine into the scene: coded segments, uncertainty volume, lesion table, and their origin.

All of it appears beside the reference volume, on its grid and under its transform; when anything fails, the
scene is left as it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import slicer
from SegDLEngine.result import Result

from SegDLLib import lesion_table, uncertainty
from SegDLLib.nodes import labelmapFromImage

UNCERTAINTY_ROLE, TABLE_ROLE = "SegDL.Uncertainty", "SegDL.LesionTable"
PROVENANCE = "SegDL.Provenance"

_TYPE_CONTEXT = "Segmentation category and type - 3D Slicer General Anatomy list"
_REGION_CONTEXT = "Anatomic codes - DICOM master list"


@dataclass(frozen=True)
class ResultNodes:
    """The nodes of one result; ``uncertainty`` is None without Monte Carlo."""

    segmentation: Any
    lesions: Any
    uncertainty: Any = None


def importResult(result: Result, volumeNode, *, name: str = "", closedSurface: bool = False) -> ResultNodes:
    """Add the result to the scene beside ``volumeNode``, the reference input it was computed from.

    ``name``: of the segmentation; by default '<volume> <label>', of a model with several labels '<volume>
    segmentation'.  Raises InputError when the volume's grid is no longer the result's.
    """
    labels = result.card["labels"]
    content = labels[0]["name"].lower() if len(labels) == 1 else "segmentation"
    baseName = name or f"{volumeNode.GetName()} {content}"
    with sceneUnchangedOnError():
        segmentation = segmentationFromLabels(result, volumeNode, baseName)
        writeProvenance(segmentation, result.provenance)
        table = lesion_table.tableFromLesions(result.lesions, f"{baseName} lesions", _intensityUnit(result))
        segmentation.SetNodeReferenceID(TABLE_ROLE, table.GetID())
        volume = None
        for kind in uncertainty.PREFERRED:
            if kind in result.maps:
                volume = uncertainty.volumeFromMap(
                    result.maps[kind], kind, f"{baseName} uncertainty", volumeNode
                )
                segmentation.SetNodeReferenceID(UNCERTAINTY_ROLE, volume.GetID())
                break
        for node in (segmentation, volume, table):
            if node is not None:
                placeBeside(node, volumeNode)
        if closedSurface:
            segmentation.CreateClosedSurfaceRepresentation()
    return ResultNodes(segmentation, table, volume)


def segmentationFromLabels(result: Result, volumeNode, name: str):
    """A vtkMRMLSegmentationNode with one coded segment for each label of the card, empty ones included."""
    scene = slicer.mrmlScene
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", scene.GenerateUniqueName(name))
    segmentation.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    labels = result.card["labels"]
    with _temporaryNodes() as keep:
        colours = keep(_codedColours(labels))
        labelmap = keep(labelmapFromImage(result.labels, f"{name} labels", placeAs=volumeNode))
        keep(labelmap.GetDisplayNode())
        labelmap.GetDisplayNode().SetAndObserveColorNodeID(colours.GetID())
        # An import without any voxel reports failure; its empty segments are added below.
        if result.labels.array.any():
            logic = slicer.vtkSlicerSegmentationsModuleLogic
            if not logic.ImportLabelmapToSegmentationNode(labelmap, segmentation):
                raise RuntimeError("the labelmap could not be imported into the segmentation")
    _completeSegments(segmentation.GetSegmentation(), labels)
    return segmentation


def terminologyString(terminology: Mapping[str, Mapping[str, str]] | None) -> str:
    """Slicer's terminology string of a label (category, type, region and modifiers); '' if not coded."""
    if not terminology or "type" not in terminology:
        return ""

    def code(field: str) -> str:
        entry = terminology.get(field) or {}
        return f"{entry.get('scheme', '')}^{entry.get('code', '')}^{entry.get('meaning', '')}"

    fields = [_TYPE_CONTEXT, code("category"), code("type"), code("type_modifier")]
    fields += [_REGION_CONTEXT, code("region"), code("region_modifier")]
    return "~".join(fields)


def writeProvenance(node, provenance: Mapping[str, Any]) -> None:
    """Where a result came from, as node attributes: the whole as JSON, the main facts one by one."""
    model = provenance.get("model") or {}
    facts = {
        "SegDL.Model": model.get("id"),
        "SegDL.ModelVersion": model.get("version"),
        "SegDL.ModelSHA256": model.get("sha256"),
        "SegDL.Engine": provenance.get("engine"),
        "SegDL.Device": provenance.get("device"),
        "SegDL.Precision": provenance.get("precision"),
        "SegDL.Samples": provenance.get("samples"),
        "SegDL.Seed": provenance.get("seed"),
        "SegDL.Time": provenance.get("time"),
        PROVENANCE: json.dumps(provenance, ensure_ascii=True, sort_keys=True, default=str),
    }
    for name, value in facts.items():
        if value is not None:
            node.SetAttribute(name, str(value))


def readProvenance(node) -> dict[str, Any]:
    """The provenance written by ``writeProvenance``; {} for a node of other origin."""
    return json.loads(node.GetAttribute(PROVENANCE) or "{}")


def placeBeside(node, volumeNode) -> None:
    """Put the node into the subject-hierarchy folder or study of the volume."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    volumeItem = hierarchy.GetItemByDataNode(volumeNode) if hierarchy is not None else 0
    if not volumeItem:
        return
    parent = hierarchy.GetItemParent(volumeItem)
    item = hierarchy.GetItemByDataNode(node)
    if item:
        hierarchy.SetItemParent(item, parent)
    else:
        hierarchy.CreateItem(parent, node)


@contextmanager
def sceneUnchangedOnError() -> Iterator[None]:
    """Remove every node that was added inside when the work inside fails."""
    before = _nodeIDs()
    try:
        yield
    except BaseException:
        for identifier in sorted(_nodeIDs() - before):
            node = slicer.mrmlScene.GetNodeByID(identifier)
            if node is not None:
                slicer.mrmlScene.RemoveNode(node)
        raise


def _nodeIDs() -> set[str]:
    scene = slicer.mrmlScene
    return {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}


@contextmanager
def _temporaryNodes() -> Iterator[Any]:
    """Yields a function that marks nodes; they leave the scene at the end, whatever happens."""
    kept: list[Any] = []

    def keep(node):
        kept.append(node)
        return node

    try:
        yield keep
    finally:
        for node in reversed(kept):
            slicer.mrmlScene.RemoveNode(node)


def _codedColours(labels: Sequence[Mapping[str, Any]]):
    """A colour table whose entry of each label value carries name, colour and terminology for the import."""
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", "SegDL labels")
    table.SetTypeToUser()
    table.SetNumberOfColors(max(int(label["value"]) for label in labels) + 1)
    table.SetColor(0, "background", 0.0, 0.0, 0.0, 0.0)
    for label in labels:
        value = int(label["value"])
        table.SetColor(value, label["name"], *_colour(label), 1.0)
        coded = terminologyString(label.get("terminology"))
        if coded:
            table.SetTerminologyFromString(value, coded)
    return table


def _completeSegments(segmentation, labels: Sequence[Mapping[str, Any]]) -> None:
    """Add the labels that were not found as empty segments, in the card's order, with their label values."""
    for position, label in enumerate(labels):
        identifier = segmentation.GetSegmentIdBySegmentName(label["name"])
        if not identifier:
            identifier = segmentation.AddEmptySegment("", label["name"], _colour(label))
        segment = segmentation.GetSegment(identifier)
        coded = terminologyString(label.get("terminology"))
        if coded:
            segment.SetTerminology(coded)
        segmentation.SetSegmentIndex(identifier, position)


def _intensityUnit(result: Result) -> str:
    """The unit of the reference input, in which the lesions were measured."""
    return next((entry["unit"] for entry in result.card.get("inputs", ())), "")


def _colour(label: Mapping[str, Any]) -> tuple[float, float, float]:
    red, green, blue = (float(part) / 255.0 for part in label["color"][:3])
    return red, green, blue
