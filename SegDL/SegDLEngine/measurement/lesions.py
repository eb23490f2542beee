"""The lesion table: one row for each connected component of each label.

Diameters are taken as in RECIST 1.1 and by the WHO: the longest axial diameter, and the longest one
perpendicular to it in the same slice.  Both belong to the convex hull of the lesion's outline, which runs
half-way between the outermost voxel centres and their neighbours, and are measured in millimetres in the
plane of the slice, so that unequal and oblique voxels count right.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import cc3d
import numpy as np

from SegDLEngine.errors import InputError
from SegDLEngine.images.cropping import occupied
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.images.writing import replacing

COLUMNS = (
    "label",
    "name",
    "component",
    "voxels",
    "volume_ml",
    "long_axis_mm",
    "perpendicular_mm",
    "mean",
    "minimum",
    "maximum",
    "suv_mean",
    "suv_max",
    "mean_uncertainty",
    "centroid_ras",
)
_CONNECTIVITY: Final = 26


def lesion_table(
    labels: Image,
    names: Mapping[int, str],
    intensity: Image,
    uncertainty: Image | None = None,
    suv: Image | None = None,
) -> list[dict[str, Any]]:
    """Rows of all lesions, by volume descending; the keys are ``COLUMNS``.

    ``names`` by label value; ``intensity`` (in its own unit), ``uncertainty`` and ``suv`` lie on the grid of
    ``labels``.  ``component`` counts from 1 within a label; without uncertainty or SUV theirs are None.
    """
    rows = []
    for value, name in names.items():
        lesions = [
            _row(lesion, box, labels.grid, intensity, uncertainty, suv)
            for lesion, box in _components(labels, value)
        ]
        lesions.sort(key=lambda row: -row["voxels"])
        rows += [
            {"label": value, "name": name, "component": number, **row}
            for number, row in enumerate(lesions, start=1)
        ]
    return sorted(rows, key=lambda row: -row["voxels"])


def _components(labels: Image, value: int) -> Iterator[tuple[np.ndarray, tuple[slice, ...]]]:
    """Mask and place of each component; only the box that has the label is searched and numbered."""
    inside = labels.array == value
    part = occupied(inside)
    if part is None:
        return
    found, count = cc3d.connected_components(
        inside[part], connectivity=_CONNECTIVITY, binary_image=True, return_N=True
    )
    places = cc3d.statistics(found)["bounding_boxes"]
    for number in range(1, count + 1):
        lesion = found[places[number]] == number
        moved = zip(part, places[number], strict=True)
        yield lesion, tuple(slice(at.start + place.start, at.start + place.stop) for at, place in moved)


def _row(
    lesion: np.ndarray,
    box: tuple[slice, ...],
    grid: Grid,
    intensity: Image,
    uncertainty: Image | None,
    suv: Image | None,
) -> dict[str, Any]:
    """The figures of one component: its mask ``lesion`` (k, j, i; bool) lies at ``box`` of ``grid``."""
    values = intensity.array[box][lesion]
    uptake = None if suv is None else suv.array[box][lesion]
    voxels = int(lesion.sum())
    first = np.array([box[2].start, box[1].start, box[0].start])
    centre = np.argwhere(lesion)[:, ::-1].mean(axis=0) + first
    right, anterior, superior = (grid.ijk_to_ras @ [*centre, 1.0])[:3]
    long_axis, perpendicular = axial_diameters(lesion, grid)
    return {
        "voxels": voxels,
        "volume_ml": voxels * grid.voxel_ml,
        "long_axis_mm": long_axis,
        "perpendicular_mm": perpendicular,
        "mean": float(values.mean(dtype=float)),
        "minimum": float(values.min()),
        "maximum": float(values.max()),
        "suv_mean": None if uptake is None else float(uptake.mean(dtype=float)),
        "suv_max": None if uptake is None else float(uptake.max()),
        "mean_uncertainty": None if uncertainty is None else float(uncertainty.array[box][lesion].mean()),
        "centroid_ras": [float(right), float(anterior), float(superior)],
    }


def axial_diameters(lesion: np.ndarray, grid: Grid) -> tuple[float, float]:
    """Longest diameter (mm) of ``lesion`` (k, j, i; bool) in one axial slice, and its longest perpendicular.

    The slices are those of the index axis closest to the body's axis; only spacing and direction of ``grid``
    are used.
    """
    axis = int(np.argmax(np.abs(grid.axes[2])))
    first, second = (index for index in range(3) if index != axis)
    plane = _plane(grid.ijk_to_lps[:3, first], grid.ijk_to_lps[:3, second])
    slices = np.moveaxis(lesion, 2 - axis, 0)
    best = (0.0, 0.0)
    for layer in slices[slices.any(axis=(1, 2))]:
        hull = convex_hull(_outline(layer) @ plane.T)
        best = max(best, _diameters(hull), key=lambda pair: pair[0])
    return best


def _plane(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """2x2 matrix from in-plane indices to millimetres in an orthonormal frame of the plane."""
    x = first / np.linalg.norm(first)
    rest = second - (second @ x) * x
    return np.array([[np.linalg.norm(first), second @ x], [0.0, np.linalg.norm(rest)]])


def _outline(layer: np.ndarray) -> np.ndarray:
    """Points (N, 2) (column, row) whose hull is that of the voxels' outline at half height.

    Only the outermost voxels of each row and column can lie on the hull; each adds the middles of its edges.
    """
    rows, columns = np.flatnonzero(layer.any(axis=1)), np.flatnonzero(layer.any(axis=0))
    left, right = layer.argmax(axis=1)[rows], layer.shape[1] - 1 - layer[:, ::-1].argmax(axis=1)[rows]
    top, bottom = layer.argmax(axis=0)[columns], layer.shape[0] - 1 - layer[::-1].argmax(axis=0)[columns]
    return np.concatenate(
        [
            np.stack([left - 0.5, rows], axis=1),
            np.stack([right + 0.5, rows], axis=1),
            np.stack([columns, top - 0.5], axis=1),
            np.stack([columns, bottom + 0.5], axis=1),
        ]
    )


def convex_hull(points: np.ndarray) -> np.ndarray:
    """Vertices (M, 2) of the convex hull of points (N, 2), counter-clockwise (Andrew's monotone chain)."""
    ordered = np.unique(points, axis=0).tolist()
    if len(ordered) < 3:
        return np.array(ordered)
    lower, upper = _chain(ordered), _chain(ordered[::-1])
    return np.array(lower[:-1] + upper[:-1])


def _chain(points: Iterable[Sequence[float]]) -> list[Sequence[float]]:
    chain: list[Sequence[float]] = []
    for point in points:
        while len(chain) > 1 and _turn(chain[-2], chain[-1], point) <= 0:
            chain.pop()
        chain.append(point)
    return chain


def _turn(a: Sequence[float], b: Sequence[float], c: Sequence[float]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _diameters(hull: np.ndarray) -> tuple[float, float]:
    """Longest distance between vertices, and the longest chord of the hull at a right angle to it."""
    differences = hull[:, None] - hull[None, :]
    distances = np.hypot(differences[..., 0], differences[..., 1])
    one, other = np.unravel_index(distances.argmax(), distances.shape)
    length = float(distances[one, other])
    along = (hull[other] - hull[one]) / length
    frame = (hull - hull[one]) @ np.array([[along[0], -along[1]], [along[1], along[0]]])
    edge = _border(frame[frame[:, 1] >= -1e-9]), _border(frame[frame[:, 1] <= 1e-9])
    position = frame[:, 0]
    above, below = (np.interp(position, *side) for side in edge)
    return length, float((above - below).max())


def _border(side: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    ordered = side[np.argsort(side[:, 0])]
    return ordered[:, 0], ordered[:, 1]


def write_lesions(rows: Sequence[Mapping[str, Any]], path: str | os.PathLike[str]) -> None:
    """Write the table as .json (a list of rows) or .csv (centroid in three columns), whole or not at all.

    Raises InputError for another extension or a file that cannot be written.
    """
    target = Path(path)
    writers = {".json": _write_json, ".csv": _write_csv}
    if target.suffix.lower() not in writers:
        raise InputError(f"A lesion table cannot be written as '{target.name}'.", hint="Use .json or .csv.")
    with replacing(target) as staged, staged.open("w", encoding="utf-8", newline="") as stream:
        writers[target.suffix.lower()](rows, stream)


def _write_json(rows: Sequence[Mapping[str, Any]], stream: Any) -> None:
    json.dump([dict(row) for row in rows], stream, indent=1, ensure_ascii=False, allow_nan=False)
    stream.write("\n")


def _write_csv(rows: Sequence[Mapping[str, Any]], stream: Any) -> None:
    centroid = ("centroid_r", "centroid_a", "centroid_s")
    writer = csv.writer(stream)
    writer.writerow([*COLUMNS[:-1], *centroid])
    for row in rows:
        cells = [row[name] for name in COLUMNS[:-1]] + list(row["centroid_ras"])
        writer.writerow(["" if cell is None else cell for cell in cells])
