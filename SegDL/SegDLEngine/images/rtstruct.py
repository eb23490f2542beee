"""DICOM RT structure sets: contours in the patient become masks on the grid of an image.

A voxel is inside if its centre is inside an odd number of the contours of its plane (even-odd rule): an inner
contour is a hole, a contour within the hole an island, and keyhole contours come out as drawn.  The test is
done in millimetres, exact for any orientation of the image; nothing is interpolated.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from SegDLEngine.errors import InputError
from SegDLEngine.images.dicom_files import class_name, damaged
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.planes import Frame, distinct_heights, intervals, plane_distance, slab
from SegDLEngine.images.segment_masks import SegmentMask, Warn

if TYPE_CHECKING:
    from pydicom import Dataset

RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR")
# A contour may leave its plane by this much (mm).
FLAT = 0.5
# Pairs of edge and point that are looked at together: some 100 MB.
PAIRS = 1_000_000
# Only what is needed is read, so that no name or birth date of the patient gets into memory.
_TAGS = ["SOPClassUID", "Modality", "StructureSetROISequence", "ROIContourSequence",
         "RTROIObservationsSequence", "ReferencedFrameOfReferenceSequence"]  # fmt: skip


def read_rtstruct(path: str | Path, grid: Grid, *, warn: Warn | None = None) -> list[SegmentMask]:
    """Every region of a structure set as a mask on ``grid``; one without contours is empty.

    ``warn`` hears of contours that are no closed planes (left out) and of regions that leave the image.
    Raises InputError for another kind of file and for contours that cannot be placed.
    """
    source, tell = Path(path), warn or (lambda code, text: None)
    data = _read(source)
    drawn = {
        int(item.ReferencedROINumber): list(item.get("ContourSequence") or [])
        for item in data.get("ROIContourSequence") or []
    }
    codes = {
        int(item.ReferencedROINumber): _terminology(item)
        for item in data.get("RTROIObservationsSequence") or []
        if "ReferencedROINumber" in item
    }
    regions = []
    for region in data.get("StructureSetROISequence") or []:
        number, name = int(region.ROINumber), str(region.get("ROIName") or f"ROI {region.ROINumber}")
        contours = _contours(source, name, drawn.get(number, []), tell)
        mask = rasterise(contours, grid, f"Region '{name}' of '{source}'", tell)
        regions.append(SegmentMask(name, mask, grid, codes.get(number, {})))
    if not regions:
        raise InputError(f"'{source}' has no regions.", hint="Give a structure set with contours.")
    return regions


def region_names(path: str | Path) -> list[str]:
    """The names of all regions, without computing them."""
    return [str(item.get("ROIName", "")) for item in _read(Path(path)).get("StructureSetROISequence") or []]


def referenced_series(data: Dataset) -> set[str]:
    """SeriesInstanceUIDs of the images that a structure set was drawn on."""
    return {
        str(series.get("SeriesInstanceUID", ""))
        for frame in data.get("ReferencedFrameOfReferenceSequence") or []
        for study in frame.get("RTReferencedStudySequence") or []
        for series in study.get("RTReferencedSeriesSequence") or []
    }


def rasterise(
    contours: Sequence[np.ndarray], grid: Grid, what: str = "The region", warn: Warn | None = None
) -> np.ndarray:
    """bool (k, j, i): voxel centres inside the closed planar ``contours``, each (N, 3) LPS points in mm.

    All contours must lie in parallel planes; raises InputError that names ``what`` otherwise.
    """
    mask = np.zeros(grid.shape, dtype=bool)
    tell = warn or (lambda code, text: None)
    polygons = _without_copies(contours, what, tell)
    if not polygons:
        return mask
    frame = _frame(polygons, grid)
    height = np.array([frame.heights(points).mean() for points in polygons])
    for points, own in zip(polygons, height, strict=True):
        if np.abs(frame.heights(points) - own).max() > FLAT:
            raise InputError(
                f"{what} has contours that do not lie in parallel planes.",
                hint="Export the region with contours on the slices of one series.",
            )
    everything = np.concatenate(polygons)
    index = grid.to_index(everything)
    if np.any(index < -0.5 - 1e-3) or np.any(index > np.asarray(grid.size) - 0.5 + 1e-3):
        tell("outside", f"{what} reaches beyond the image; what is outside is lost.")
    planes = distinct_heights(height.tolist())
    nearest = np.abs(height[:, None] - planes[None, :]).argmin(axis=1)
    bounds = intervals(planes, plane_distance(planes, grid, frame))
    for number, interval in enumerate(bounds):
        here = [polygon for polygon, plane in zip(polygons, nearest, strict=True) if plane == number]
        voxels = slab(grid, frame, np.concatenate(here), interval)
        if voxels is not None:
            mask[voxels.k, voxels.j, voxels.i] = inside(voxels.uv, [frame.project(points) for points in here])
    return mask


def inside(points: np.ndarray, polygons: Sequence[np.ndarray]) -> np.ndarray:
    """True for points (N, 2) inside an odd number of closed polygons, each (M, 2).

    An edge counts for points whose second coordinate is in [lower end, upper end), so that a vertex counts
    once; a point on a left edge is inside, on a right edge outside.
    """
    order = np.argsort(points[:, 1], kind="stable")
    x, y = points[order, 0], points[order, 1]
    crossed = np.zeros(len(points), dtype=np.int64)
    for polygon in polygons:
        start, end = polygon, np.roll(polygon, -1, axis=0)
        low, high = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
        first, last = np.searchsorted(y, low), np.searchsorted(y, high)
        for edges in _blocks(last - first):
            count = (last - first)[edges]
            edge = np.repeat(edges, count)
            point = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
            (x0, y0), (x1, y1) = start[edge].T, end[edge].T
            left = x[point] < x0 + (y[point] - y0) * ((x1 - x0) / (y1 - y0))
            crossed += np.bincount(point[left], minlength=len(points))
    result = np.empty(len(points), dtype=bool)
    result[order] = crossed % 2 == 1
    return result


def _blocks(counts: np.ndarray) -> list[np.ndarray]:
    """The edges with points, in blocks of about PAIRS pairs of edge and point, so that memory stays small."""
    edges = np.flatnonzero(counts > 0)
    total = np.cumsum(counts[edges])
    borders = np.flatnonzero(np.diff(total // PAIRS)) + 1
    return [block for block in np.split(edges, borders) if block.size]


def _read(path: Path) -> Dataset:
    import pydicom

    try:
        data = pydicom.dcmread(path, specific_tags=list(_TAGS), force=True)
    except Exception as error:
        raise damaged(path, error) from error
    if str(data.get("SOPClassUID", "")) != RTSTRUCT:
        raise InputError(f"'{path}' is no RT structure set but {class_name(data)}.")
    return data


def _contours(path: Path, name: str, items: Sequence[Any], tell: Warn) -> list[np.ndarray]:
    """The closed contours of a region, (N, 3) each."""
    found, skipped = [], 0
    for item in items:
        kind = str(item.get("ContourGeometricType", "CLOSED_PLANAR")).upper()
        values = item.get("ContourData")
        try:
            points = np.asarray(values if values is not None else [], dtype=float).reshape(-1, 3)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"Region '{name}' of '{path}' has a contour that is no list of points."
            ) from error
        if not np.all(np.isfinite(points)):
            raise InputError(f"Region '{name}' of '{path}' has a contour with a point that is not finite.")
        if kind in CLOSED and len(points) >= 3:
            found.append(points)
        else:
            skipped += 1
    if skipped:
        tell("contours", f"Region '{name}' of '{path}': {skipped} contours enclose nothing and are left out.")
    return found


def _without_copies(contours: Sequence[np.ndarray], what: str, tell: Warn) -> list[np.ndarray]:
    """A contour that is stored twice would erase itself."""
    unique = {np.round(points, 3).tobytes(): points for points in contours}
    if len(unique) < len(contours):
        tell("copies", f"{what}: {len(contours) - len(unique)} copies of contours are left out.")
    return list(unique.values())


def _frame(polygons: Sequence[np.ndarray], grid: Grid) -> Frame:
    """The planes of the contours: the slices of the image where they lie in them, else fitted."""
    if all(np.ptp(points @ np.cross(*grid.axes.T[:2])) <= FLAT / 5 for points in polygons):
        return Frame(grid.axes[:, 0], grid.axes[:, 1])
    largest = max(polygons, key=lambda points: float(np.ptp(points, axis=0).max()))
    directions = np.linalg.svd(largest - largest.mean(axis=0), full_matrices=False)[2]
    return Frame(directions[0], directions[1])


def _terminology(observation: Dataset) -> dict[str, dict[str, str]]:
    """Category and type of a region where the planning system coded it (RT ROI Identification)."""
    from SegDLEngine.images.dicom_seg import coded

    items = observation.get("RTROIIdentificationCodeSequence") or []
    return {"type": coded(items[0])} if items else {}
