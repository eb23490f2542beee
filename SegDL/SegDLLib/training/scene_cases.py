"""Cases in the open scene: each segmentation with the volumes that it was drawn on, by a recipe's card."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
from SegDLEngine.errors import InputError
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.images.segment_masks import SegmentMask
from SegDLEngine.models.card import ModelCard

from SegDLLib.modality import guessInputs, modalityOf
from SegDLLib.nodes import imageFromVolume
from SegDLLib.training.package_path import makeImportable

if TYPE_CHECKING:
    from SegDLTrainingLib.data.cases import CaseEntry

Write = Callable[[], object]

# Names that Slicer gives to segments and to the values of an imported labelmap.
_UNNAMED = re.compile(r"(segment|label)[_ ]?\d*", re.IGNORECASE)
_NOWHERE = Grid((1, 1, 1), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))


@dataclass(frozen=True)
class SceneCase:
    """``inputs``: volume node by input name; ``segments``: IDs with the card's label, in the card's order."""

    name: str
    patient: str
    segmentation: Any
    inputs: dict[str, Any]
    segments: list[tuple[str, dict[str, Any]]]

    @property
    def files(self) -> int:
        """How many files it becomes."""
        return len(self.inputs) + 1


@dataclass
class SceneCases:
    """The cases of the scene; ``leftOut`` says by name why a segmentation is none, ``notes`` what to know."""

    cases: list[SceneCase] = field(default_factory=list)
    leftOut: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def findCases(card: ModelCard) -> SceneCases:
    """The segmentations that have a label of the card and the images that its inputs ask for.

    Raises InputError that says why when there are none.
    """
    found = SceneCases()
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        try:
            case = _caseOf(node, card, {case.name for case in found.cases})
        except InputError as error:
            found.leftOut.append(f"{error.text} {error.hint}".strip())
            continue
        found.cases.append(case)
        for identifier, label in case.segments:
            name = node.GetSegmentation().GetSegment(identifier).GetName()
            if _UNNAMED.fullmatch(name):
                found.notes.append(f"'{node.GetName()}': '{name}' is taken for '{label['name']}'.")
        if node.GetAttribute("SegDL.Model"):
            found.notes.append(f"'{node.GetName()}' is a result of a model: train on it only when corrected.")
    if not found.cases:
        why = found.leftOut[0] if found.leftOut else "The scene has no segmentation."
        raise InputError(f"No case in the scene can be used for training. {why}", code="data")
    return found


def caseFiles(case: SceneCase, card: ModelCard, folder: Path) -> Generator[Write | None, None, CaseEntry]:
    """The files of the case in a folder of its own below ``folder``: images as NRRD, labels as .seg.nrrd.

    Each step copies from the scene, which is for the main thread.  A step that yields a function has a file
    complete: the function writes it and may run in any thread.  Raises InputError.
    """
    from SegDLEngine.images.segmentation_file import write_segmentation
    from SegDLEngine.images.writing import write_image

    makeImportable()
    from SegDLTrainingLib.data.cases import CaseEntry

    place = folder / case.name
    _makeFolder(place)
    entries = {entry["name"]: entry for entry in card.inputs}
    inputs = {}
    for name, node in case.inputs.items():
        _checkPresent(node)
        image = imageFromVolume(node, modality=entries[name]["modality"], unit=entries[name]["unit"])
        path = place / f"{name}.nrrd"
        inputs[name] = str(path)
        yield partial(write_image, image, path, compress=False)
    labels = yield from _labels(case, case.inputs[card.reference])
    path = place / "labels.seg.nrrd"
    yield partial(write_segmentation, labels, [label for _, label in case.segments], path)
    return CaseEntry(case.name, case.patient, inputs, str(path))


def _caseOf(segmentation, card: ModelCard, taken: set[str]) -> SceneCase:
    segments = _matchingSegments(segmentation, card)
    inputs = _inputs(segmentation, card)
    reference = inputs[card.reference]
    name = _fileName(reference.GetName(), taken)
    return SceneCase(name, _patientOf(reference) or name, segmentation, inputs, segments)


def _matchingSegments(segmentation, card: ModelCard) -> list[tuple[str, dict[str, Any]]]:
    """Segments that are labels of the card, by codes or names, as training reads them from a file.

    Files of cases hold what is to be learnt, a scene other segmentations too: a single segment without codes
    is taken for the label only under a name that nobody gave it.
    """
    from SegDLEngine.images.segmentation_file import parse_terminology

    makeImportable()
    from SegDLTrainingLib.data.labels import choose_segments

    nothing = np.zeros((1, 1, 1), bool)
    content = segmentation.GetSegmentation()
    segments = {}
    for index in range(content.GetNumberOfSegments()):
        segment = content.GetNthSegment(index)
        coded = parse_terminology(segment.GetTerminology() or "")
        mask = SegmentMask(segment.GetName(), nothing, _NOWHERE, coded)
        segments[mask] = content.GetNthSegmentID(index)
    labels = {int(label["value"]): dict(label) for label in card.labels}
    unnamed = all(_UNNAMED.fullmatch(mask.name) for mask in segments)
    chosen = choose_segments(list(segments), card, None, any_name=unnamed)
    if not chosen:
        wanted = ", ".join(str(label["name"]) for label in card.labels)
        raise InputError(
            f"Segmentation '{segmentation.GetName()}' has no segment of '{card.id}': {wanted}.",
            hint="Give the segments these names or their terminology.",
        )
    order = list(labels)
    chosen.sort(key=lambda pair: order.index(pair[1]))
    return [(segments[mask], labels[value]) for mask, value in chosen]


def _inputs(segmentation, card: ModelCard) -> dict[str, Any]:
    """The reference volume and its companions in the study; InputError when one is missing or unclear."""
    name = segmentation.GetName()
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    own = segmentation.GetNodeReference(role)
    if own is None:
        raise InputError(
            f"Segmentation '{name}' has no source volume.", hint="Choose it in the Segment Editor."
        )
    if len(card.inputs) == 1:
        _checkModality(card.inputs[0], own, name)
        return {card.reference: own}
    companions = [node for node in _studyOf(own) if node is not own]
    chosen = guessInputs(card.inputs, [own, *companions])
    for entry in card.inputs:
        fitting = [node for node in companions if guessInputs([entry], [node])[entry["name"]] is not None]
        if chosen[entry["name"]] is not own and len(fitting) > 1:
            names = ", ".join(f"'{node.GetName()}'" for node in fitting)
            raise InputError(
                f"Segmentation '{name}': several volumes could be {entry['name']}: {names}.",
                hint="Put the volumes of each study into a folder of their own in the Data module.",
            )
        if chosen[entry["name"]] is None and entry["required"]:
            raise InputError(
                f"Segmentation '{name}': no volume beside '{own.GetName()}' is its {entry['name']}.",
                hint="Load it, or name it so that it tells what it is.",
            )
    return {key: node for key, node in chosen.items() if node is not None}


def _checkModality(entry, volume, name: str) -> None:
    known, wanted = modalityOf(volume), entry["modality"]
    if known and wanted in ("CT", "PT", "MR") and known != wanted:
        raise InputError(f"Segmentation '{name}' was drawn on {known}, the recipe is for {wanted}.")


def _studyOf(volume) -> list[Any]:
    """The images in the subject-hierarchy folder or study of a volume."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)

    def parent(node) -> int:
        item = hierarchy.GetItemByDataNode(node) if hierarchy is not None else 0
        return hierarchy.GetItemParent(item) if item else 0

    volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    images = [node for node in volumes if node.GetClassName() == "vtkMRMLScalarVolumeNode"]
    return [
        node for node in images if parent(node) == parent(volume) and node.GetAttribute("SegDL.Map") is None
    ]


def _patientOf(volume) -> str:
    """The patient's ID in the subject hierarchy, so that all studies of one go into the same part."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(volume) if hierarchy is not None else 0
    while item and item != hierarchy.GetSceneItemID():
        if hierarchy.GetItemAttribute(item, "Level") == "Patient":
            return hierarchy.GetItemAttribute(item, "DICOM.PatientID") or hierarchy.GetItemName(item)
        item = hierarchy.GetItemParent(item)
    return ""


def _labels(case: SceneCase, reference) -> Generator[None, None, Image]:
    """The segments on the reference volume's grid as label values, one in a step; the later label wins."""
    segmentation = case.segmentation
    _checkPresent(reference)
    grid = imageFromVolume(reference).grid
    array = np.zeros(grid.shape, np.uint8)
    for identifier, label in case.segments:
        for node in (segmentation, reference):
            _checkPresent(node)
        segment = segmentation.GetSegmentation().GetSegment(identifier)
        if segment is None:
            raise InputError(f"A segment of '{segmentation.GetName()}' was removed meanwhile.")
        try:
            mask = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, identifier, reference)
        except RuntimeError as error:
            raise InputError(
                f"The segment '{segment.GetName()}' of '{segmentation.GetName()}' has no binary labelmap.",
                hint="Create it in the Segmentations module, or remove the segment.",
                detail=str(error),
            ) from error
        if mask is not None:
            if mask.shape != array.shape:
                raise InputError(f"'{reference.GetName()}' has changed while the scene was exported.")
            np.putmask(array, mask, int(label["value"]))
        yield None
    return Image(array, grid)


def _checkPresent(node) -> None:
    if not slicer.mrmlScene.IsNodePresent(node):
        raise InputError(f"'{node.GetName()}' was removed while the scene was exported.")


def _makeFolder(folder: Path) -> None:
    """Make it with its parents; raises InputError that says why it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"The folder '{folder}' cannot be made: {error.strerror}.", hint="Choose another model folder."
        ) from error


def _fileName(name: str, taken: set[str]) -> str:
    """A name that every file system takes and no other case has."""
    plain = re.sub(r"[^\w-]+", "_", name).strip("_") or "case"
    number, found = 2, plain
    while found in taken:
        found, number = f"{plain}_{number}", number + 1
    return found
