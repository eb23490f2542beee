"""One segmentation as the user asked for it, checked before any work is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import slicer
from SegDLEngine.errors import InputError
from SegDLEngine.images.image import Image

from SegDLLib import modality as modalities
from SegDLLib.nodes import imageFromVolume


@dataclass(frozen=True)
class Request:
    """A model, its input volumes by name, and options as ``SegDLEngine.options.SegmentOptions`` has them.

    ``model`` is a ``SegDLEngine.models.catalogue.Model``; ``reference`` the volume whose grid the result has.
    """

    model: Any
    inputs: dict[str, Any]
    options: dict[str, Any]
    name: str = ""
    closedSurface: bool = False

    @property
    def reference(self):
        return self.inputs[self.model.card.inputs[0]["name"]]

    def images(self) -> dict[str, Image]:
        """The input volumes as images, with the modality and unit that the card expects."""
        entries = {entry["name"]: entry for entry in self.model.card.inputs}
        return {
            name: imageFromVolume(node, modality=entries[name]["modality"], unit=entries[name]["unit"])
            for name, node in self.inputs.items()
        }


def makeRequest(
    inputs: Mapping[str, Any],
    model: str,
    *,
    roi: Any = None,
    name: str = "",
    closedSurface: bool = False,
    **options: Any,
) -> Request:
    """Check a request; raises InputError or ModelError that names the field.

    ``inputs``: volume nodes by the card's input names; None leaves an optional one out.  ``roi``: a markups
    ROI node or six bounds in mm (RAS).  ``options``: fields of SegmentOptions; None leaves the card's choice.
    """
    from SegDLEngine.models.catalogue import load_model
    from SegDLEngine.options import SegmentOptions

    found = load_model(model)
    chosen = {field: value for field, value in options.items() if value is not None}
    if roi is not None:
        chosen["roi"] = roiBounds(roi)
    checked = SegmentOptions.from_mapping(chosen).as_mapping()
    return Request(found, _checkInputs(found.card.inputs, inputs), checked, name, closedSurface)


def roiBounds(roi) -> list[float]:
    """(r_min, r_max, a_min, a_max, s_min, s_max) in mm, world RAS, of an ROI node or of six numbers.

    A turned box counts as the upright box round it.
    """
    if not hasattr(roi, "GetRASBounds"):
        return [float(bound) for bound in roi]
    bounds = [0.0] * 6
    roi.GetRASBounds(bounds)
    if not all(low < high for low, high in zip(bounds[::2], bounds[1::2], strict=True)):
        raise InputError(
            f"Region '{roi.GetName()}' has no extent.",
            hint="Place it in the views or choose the whole volume.",
        )
    return bounds


def fitRoi(roi, volumeNode) -> None:
    """Put a new ROI node round the whole volume, upright in the world."""
    bounds = [0.0] * 6
    volumeNode.GetRASBounds(bounds)
    low, high = bounds[::2], bounds[1::2]
    roi.SetCenterWorld([(first + last) / 2 for first, last in zip(low, high, strict=True)])
    roi.SetSizeWorld([last - first for first, last in zip(low, high, strict=True)])


def gridNote(inputs: Mapping[str, Any], reference: str) -> str:
    """Names of the inputs that lie on another grid than the reference, joined; '' if there are none."""
    images = {name: node for name, node in inputs.items() if node is not None and node.GetImageData()}
    if reference not in images:
        return ""
    from SegDLEngine.images.grid import Grid

    from SegDLLib.nodes import ijkToWorld

    grids = {}
    for name, node in images.items():
        try:
            grids[name] = Grid.from_ijk_to_ras(ijkToWorld(node), node.GetImageData().GetDimensions())
        except (InputError, ValueError):
            continue  # The run itself reports what is wrong with this volume.
    main = grids.get(reference)
    others = [name for name, grid in grids.items() if main is not None and not grid.matches(main)]
    return ", ".join(others)


def _checkInputs(entries: Sequence[Mapping[str, Any]], inputs: Mapping[str, Any]) -> dict[str, Any]:
    names = [entry["name"] for entry in entries]
    for name in inputs:
        if name not in names:
            raise InputError(f"The model has no input '{name}'.", hint=f"Its inputs: {', '.join(names)}.")
    given = {}
    for entry in entries:
        node = inputs.get(entry["name"])
        if node is None:
            if entry["required"]:
                raise InputError(f"Input '{entry['name']}' is missing.", hint="Choose a volume for it.")
            continue
        if not slicer.mrmlScene.IsNodePresent(node):
            raise InputError(f"The volume of input '{entry['name']}' is no longer in the scene.")
        if not node.IsA("vtkMRMLScalarVolumeNode") or node.IsA("vtkMRMLLabelMapVolumeNode"):
            raise InputError(
                f"Input '{entry['name']}': '{node.GetName()}' is no scalar volume.", hint="Choose an image."
            )
        _checkUnit(entry, node)
        given[entry["name"]] = node
    return given


def _checkUnit(entry: Mapping[str, Any], node) -> None:
    wanted, known = entry["unit"], modalities.unitOf(node)
    if wanted and known and wanted != known:
        raise InputError(
            f"Input '{entry['name']}' needs {wanted}, but volume '{node.GetName()}' is in {known}.",
            hint="Choose another volume or convert this one.",
        )
