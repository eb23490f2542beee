"""The lesion table as a table node with typed columns, and back to rows; jumping to a lesion."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import slicer
import vtk

_CENTROID = "centroid_ras"
_INTENSITIES = ("mean", "minimum", "maximum")


@dataclass(frozen=True)
class Column:
    """One column: its key in a lesion row, the table's type, its heading and unit."""

    key: str
    kind: type
    title: str
    unit: str = ""


COLUMNS = (
    Column("label", int, "Label value"),
    Column("name", str, "Segment"),
    Column("component", int, "Lesion"),
    Column("voxels", int, "Voxels"),
    Column("volume_ml", float, "Volume", "ml"),
    Column("long_axis_mm", float, "Long axis", "mm"),
    Column("perpendicular_mm", float, "Perpendicular", "mm"),
    Column("mean", float, "Mean intensity"),
    Column("minimum", float, "Minimum intensity"),
    Column("maximum", float, "Maximum intensity"),
    Column("suv_mean", float, "SUVmean"),
    Column("suv_max", float, "SUVmax"),
    Column("mean_uncertainty", float, "Mean uncertainty"),
    Column("centroid_r", float, "Centroid R", "mm"),
    Column("centroid_a", float, "Centroid A", "mm"),
    Column("centroid_s", float, "Centroid S", "mm"),
)
_ARRAYS = {int: vtk.vtkIntArray, float: vtk.vtkDoubleArray, str: vtk.vtkStringArray}


def tableFromLesions(lesions: Sequence[Mapping[str, Any]], name: str, intensityUnit: str = ""):
    """A new vtkMRMLTableNode with one row for each lesion; what was not measured is NaN.

    ``intensityUnit``: of mean, minimum and maximum, such as HU.
    """
    scene = slicer.mrmlScene
    node = scene.AddNewNodeByClass("vtkMRMLTableNode", scene.GenerateUniqueName(name))
    rows = [_flat(lesion) for lesion in lesions]
    for column in COLUMNS:
        array = _ARRAYS[column.kind]()
        array.SetName(column.key)
        for row in rows:
            array.InsertNextValue(_value(row.get(column.key), column.kind))
        node.AddColumn(array)
        node.SetColumnTitle(column.key, column.title)
        unit = intensityUnit if column.key in _INTENSITIES else column.unit
        if unit:
            node.SetColumnUnitLabel(column.key, unit)
    node.SetUseColumnTitleAsColumnHeader(True)
    return node


def intensityUnitOf(node) -> str:
    """The unit of the intensities in a lesion table; '' if unknown."""
    return node.GetColumnUnitLabel("mean") or ""


def lesionsFromTable(node) -> list[dict[str, Any]]:
    """The rows of a table made by ``tableFromLesions``, as the engine reports them."""
    table = node.GetTable()
    rows = []
    for index in range(table.GetNumberOfRows()):
        row = {}
        for column in COLUMNS:
            array = table.GetColumnByName(column.key)
            row[column.key] = _read(array, index, column.kind) if array is not None else None
        row[_CENTROID] = [row.pop(f"centroid_{axis}") for axis in "ras"]
        rows.append(row)
    return rows


def centerOn(ras: Sequence[float]) -> None:
    """Centre all slice views on a world point (r, a, s) in mm."""
    point = [float(value) for value in ras]
    if len(point) != 3 or not all(math.isfinite(value) for value in point):
        raise ValueError(f"a point needs three finite coordinates, found {ras}")
    node = slicer.vtkMRMLSliceNode
    node.JumpAllSlices(slicer.mrmlScene, *point, node.CenteredJumpSlice)


def _flat(lesion: Mapping[str, Any]) -> dict[str, Any]:
    row = dict(lesion)
    centroid = row.pop(_CENTROID, None) or (None, None, None)
    row.update({f"centroid_{axis}": value for axis, value in zip("ras", centroid, strict=True)})
    return row


def _value(value: Any, kind: type) -> Any:
    if value is None:
        return {int: 0, float: math.nan, str: ""}[kind]
    return kind(value)


def _read(array, index: int, kind: type) -> Any:
    # A table read back from a file may hold text in every column.
    text = array.GetValue(index)
    if kind is str:
        return str(text)
    try:
        number = float(text)
    except ValueError:
        return None
    if math.isnan(number):
        return None
    return kind(number)
