"""What a volume node shows: its modality and unit, and which volume fits which input of a model.

Evidence in order of trust: the node's own attributes and coded quantity and unit, the DICOM series (subject
hierarchy, then the DICOM database), the node's name, and last the range of its values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import slicer

INSTANCE_UIDS = "DICOM.instanceUIDs"
_MODALITY_TAG, _UNITS_TAG = "0008,0060", "0054,1001"
# DICOM says PT; names and people say PET.
_DICOM_MODALITIES = {"PET": "PT", "MRI": "MR"}

# Words of a node's name, upper case, split at anything that is neither a letter nor a digit.
_WORDS = {
    "CT": {"CT", "CTCHEST", "HRCT", "LDCT", "CECT", "CTA", "CBCT", "CTACARDIO", "CTABDOMEN"},
    "PT": {"PET", "PT", "SUV", "FDG", "SUVBW", "FDGPET"},
    "MR": {"MR", "MRI", "MRHEAD", "T1", "T1C", "T1CE", "T1GD", "T1W", "T2", "T2W", "FLAIR", "DWI", "ADC"},
}
_SEQUENCES = {
    "T1C": {"T1C", "T1CE", "T1GD", "T1POST"},
    "T1": {"T1", "T1W"},
    "T2": {"T2", "T2W"},
    "FLAIR": {"FLAIR", "T2FLAIR"},
}
_UNITS = {"[HNSF'U]": "HU", "HU": "HU", "BQ/ML": "BQML", "BQML": "BQML", "{SUVBW}G/ML": "SUV", "SUV": "SUV"}
_DEFAULT_UNITS = {"CT": "HU"}


def modalityOf(volumeNode) -> str:
    """'CT', 'PT' (PET), 'MR' or another DICOM modality; '' when nothing tells."""
    for found in (volumeNode.GetAttribute("DICOM.Modality"), _hierarchyModality(volumeNode)):
        if found:
            return _DICOM_MODALITIES.get(found.upper(), found.upper())
    unit = _codedUnit(volumeNode)
    if unit:
        return "CT" if unit == "HU" else "PT"
    stored = _databaseValue(volumeNode, _MODALITY_TAG)
    if stored:
        return _DICOM_MODALITIES.get(stored.upper(), stored.upper())
    return _namedModality(volumeNode.GetName())


def unitOf(volumeNode) -> str:
    """'HU', 'SUV', 'BQML' or ''."""
    coded = _codedUnit(volumeNode)
    if coded:
        return coded
    stored = _databaseValue(volumeNode, _UNITS_TAG)
    if stored:
        return _UNITS.get(stored.upper(), stored.upper())
    if "SUV" in _words(volumeNode.GetName()):
        return "SUV"
    return _DEFAULT_UNITS.get(modalityOf(volumeNode), "")


def guessInputs(inputs: Sequence[Mapping[str, Any]], volumeNodes: Sequence[Any]) -> dict[str, Any]:
    """For each input of a model card (``name``, ``modality``) the volume that fits best, or None.

    Each volume is used once; of equally fitting ones the first in the scene is taken.
    """
    chosen: dict[str, Any] = {}
    for entry in inputs:
        free = [node for node in volumeNodes if node not in chosen.values()]
        scores = [(_fit(entry, node), node) for node in free]
        best = max(scores, key=lambda pair: pair[0], default=(0, None))
        chosen[entry["name"]] = best[1] if best[0] > 0 else None
    return chosen


def _fit(entry: Mapping[str, Any], node) -> int:
    """How well a volume fits one input; 0 if it should not be offered."""
    wanted = str(entry.get("modality") or entry["name"]).upper()
    wanted = _DICOM_MODALITIES.get(wanted, wanted)
    words = _words(node.GetName())
    known = modalityOf(node)
    if known and known != wanted and wanted in {"CT", "PT", "MR"}:
        return 0
    score = 4 if known == wanted else 0
    sequence = _SEQUENCES.get(str(entry["name"]).upper())
    if sequence is not None:
        if words & sequence:
            score += 8
        elif any(words & other for other in _SEQUENCES.values()):
            return 0
    if str(entry["name"]).upper() in words:
        score += 2
    if not score and wanted == "CT" and _looksLikeHounsfield(node):
        score = 1
    return score


def _looksLikeHounsfield(node) -> bool:
    image = node.GetImageData()
    if image is None:
        return False
    low, high = image.GetScalarRange()
    return -4096 <= low <= -500 and high > 0


def _words(name: str) -> set[str]:
    return {word for word in re.split(r"[^A-Z0-9]+", (name or "").upper()) if word}


def _namedModality(name: str) -> str:
    words = _words(name)
    found = [modality for modality, known in _WORDS.items() if words & known]
    # "PET registered to CT" names two: what it is cannot be told.
    return found[0] if len(found) == 1 else ""


def _codedUnit(volumeNode) -> str:
    entry = volumeNode.GetVoxelValueUnits() if hasattr(volumeNode, "GetVoxelValueUnits") else None
    return _UNITS.get((entry.GetCodeValue() or "").upper(), "") if entry is not None else ""


def _hierarchyModality(volumeNode) -> str:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(volumeNode) if hierarchy is not None else 0
    return hierarchy.GetItemAttribute(item, "DICOM.Modality") if item else ""


def _databaseValue(volumeNode, tag: str) -> str:
    """A DICOM value of the volume's first instance, from the application's database if it is open."""
    database = getattr(slicer, "dicomDatabase", None)
    instances = (volumeNode.GetAttribute(INSTANCE_UIDS) or "").split()
    if database is None or not instances or not database.isOpen:
        return ""
    return database.instanceValue(instances[0], tag)
