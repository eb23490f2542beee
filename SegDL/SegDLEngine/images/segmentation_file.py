"""Slicer's segmentation file (.seg.nrrd): a labelmap whose header names, colours and codes its segments.

The keys ``Segment<n>_*`` and ``Segmentation_*`` are those that Slicer 5 writes itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from SegDLEngine.errors import InputError
from SegDLEngine.images.conversion import from_sitk
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.images.integrity import HEADER_LIMIT, check_complete
from SegDLEngine.images.segment_masks import SegmentMask
from SegDLEngine.images.writing import output_extension, write_image

Warn = Callable[[str, str], None]

TYPE_CONTEXT = "Segmentation category and type - 3D Slicer General Anatomy list"
REGION_CONTEXT = "Anatomic codes - DICOM master list"
_CODES = ("category", "type", "type_modifier", None, "region", "region_modifier")


@dataclass(frozen=True)
class Segmentation:
    """``labels`` (uint8 or uint16) and for each segment its label entry as in a model card, with ``id``."""

    labels: Image
    segments: list[dict[str, Any]]


def write_segmentation(
    labels: Image,
    card_labels: Sequence[Mapping[str, Any]],
    path: str | os.PathLike[str],
    *,
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Write a labelmap as segments; every entry of ``card_labels`` becomes one, in order, empty ones too.

    An entry has ``value``, ``name``, ``color`` (0..255) and optionally ``terminology`` as in a model card.
    ``metadata`` becomes further header keys (provenance).  Raises InputError as ``write_image`` does.
    """
    target = Path(path).expanduser()
    output_extension(target, (".seg.nrrd",))
    unknown = set(np.unique(labels.array).tolist()) - {0} - {int(entry["value"]) for entry in card_labels}
    if unknown:
        raise ValueError(f"no entry describes the label values {sorted(unknown)}")
    keys = {**_file_keys(labels.grid), **dict(metadata or {})}
    for number, entry in enumerate(card_labels):
        for key, value in _segment_keys(entry, labels.grid).items():
            keys[f"Segment{number}_{key}"] = value
    return write_image(labels, target, metadata=keys)


def read_segmentation(path: str | os.PathLike[str], *, warn: Warn | None = None) -> Segmentation:
    """The segments of a ``.seg.nrrd`` as one labelmap, with the label values of the file.

    Where layers use one value twice, the segments are numbered 1, 2, ... in order; where segments overlap,
    the later one wins and ``warn`` hears of it.  Raises InputError.
    """
    source = Path(path).expanduser()
    segments, layers = _read(source)
    values = [segment["value"] for segment in segments]
    if len(set(values)) < len(values):
        values = list(range(1, len(segments) + 1))
    array = np.zeros(layers[0].grid.shape, np.uint8 if max(values, default=0) <= 255 else np.uint16)
    overlap = 0
    for segment, value in zip(segments, values, strict=True):
        inside = layers[segment.pop("layer")].array == segment["value"]
        overlap += int(np.count_nonzero(array[inside]))
        array[inside] = value
        segment["value"] = value
    if overlap and warn:
        warn("overlap", f"'{source}' has overlapping segments ({overlap} voxels); the later segment wins.")
    labels = Image(array, layers[0].grid, metadata={"path": str(source)})
    return Segmentation(labels, segments)


def read_layers(path: str | os.PathLike[str]) -> list[SegmentMask]:
    """Every segment of a ``.seg.nrrd`` as a mask of its own, so that overlapping segments stay whole."""
    segments, layers = _read(Path(path).expanduser())
    return [
        SegmentMask(
            segment["name"],
            layers[segment["layer"]].array == segment["value"],
            layers[segment["layer"]].grid,
            segment["terminology"],
        )
        for segment in segments
    ]


def is_segmentation(path: str | os.PathLike[str]) -> bool:
    """True if the header of a NRRD file describes segments."""
    with Path(path).open("rb") as stream:
        while (line := stream.readline(HEADER_LIMIT)).strip():
            if line.startswith((b"Segment0_", b"Segmentation_")):
                return True
    return False


def terminology_string(terminology: Mapping[str, Mapping[str, str]] | None) -> str:
    """Slicer's coded form of a card's terminology; '' without one."""
    if not terminology or "type" not in terminology:
        return ""

    def code(name: str) -> str:
        entry = terminology.get(name) or {}
        return "^".join(str(entry.get(key, "")) for key in ("scheme", "code", "meaning"))

    return "~".join([TYPE_CONTEXT, *(REGION_CONTEXT if name is None else code(name) for name in _CODES)])


def parse_terminology(text: str) -> dict[str, dict[str, str]]:
    """The inverse of ``terminology_string``; parts without a code are left out."""
    found = {}
    for name, part in zip(_CODES, text.split("~")[1:], strict=False):
        words = part.split("^")
        if name and len(words) == 3 and words[1]:
            found[name] = dict(zip(("scheme", "code", "meaning"), words, strict=True))
    return found


def _read(source: Path) -> tuple[list[dict[str, Any]], list[Image]]:
    """The entries of the segments, each with its ``layer``, and the layers."""
    import SimpleITK

    check_complete(source, "nrrd")
    try:
        stored = SimpleITK.ReadImage(str(source))
    except RuntimeError as error:
        raise InputError(
            f"'{source}' cannot be read as a segmentation.",
            hint="Save the segmentation again.",
            detail=str(error),
        ) from error
    if stored.GetDimension() != 3:
        raise InputError(f"'{source}' is no 3D segmentation.", hint="Save the segmentation again.")
    segments = _segments({key: stored.GetMetaData(key) for key in stored.GetMetaDataKeys()})
    layers = _layers(stored)
    for segment in segments:
        if not 0 <= segment["layer"] < len(layers):
            raise InputError(f"'{source}' has a segment '{segment['name']}' in a layer that does not exist.")
    return segments, layers


def _file_keys(grid: Grid) -> dict[str, str]:
    matrix = ";".join(repr(float(number)) for number in grid.ijk_to_ras.ravel())
    extent = ";".join(_extent(grid).split())
    return {
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_ConversionParameters": f"Reference image geometry|{matrix};{extent};|&",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }


def _segment_keys(entry: Mapping[str, Any], grid: Grid) -> dict[str, str]:
    value = int(entry["value"])
    coded = terminology_string(entry.get("terminology"))
    return {
        "ID": f"Segment_{value}",
        "Name": str(entry["name"]),
        "NameAutoGenerated": "0",
        "Color": " ".join(f"{channel / 255:.6g}" for channel in entry["color"]),
        "ColorAutoGenerated": "0",
        "Extent": _extent(grid),
        "LabelValue": str(value),
        "Layer": "0",
        "Tags": f"TerminologyEntry:{coded}|" if coded else "|",
    }


def _extent(grid: Grid) -> str:
    return " ".join(f"0 {length - 1}" for length in grid.size)


def _segments(keys: Mapping[str, str]) -> list[dict[str, Any]]:
    """Entries in the order of the file; old files have one layer for each segment and no label values."""
    segments: list[dict[str, Any]] = []
    while f"Segment{len(segments)}_ID" in keys:
        number = len(segments)

        def field(name: str, default: str, number: int = number) -> str:
            return keys.get(f"Segment{number}_{name}", default)

        tags = dict(tag.partition(":")[::2] for tag in field("Tags", "").split("|"))
        segments.append(
            {
                "id": field("ID", ""),
                "value": int(field("LabelValue", "1")),
                "name": field("Name", f"Segment_{number + 1}"),
                "color": [round(float(word) * 255) for word in field("Color", "0.5 0.5 0.5").split()],
                "terminology": parse_terminology(tags.get("TerminologyEntry", "")),
                "layer": int(field("Layer", str(number))),
            }
        )
    return segments


def _layers(stored: Any) -> list[Image]:
    import SimpleITK

    count = stored.GetNumberOfComponentsPerPixel()
    if count == 1:
        return [from_sitk(stored)]
    return [from_sitk(SimpleITK.VectorIndexSelectionCast(stored, layer)) for layer in range(count)]
