"""DICOM segmentation objects (SEG): frames in the patient become masks on the grid of an image.

Every frame is placed by its own position, so that left-out empty frames, other orders and overlapping
segments are right.  Binary, fractional (from half on) and labelmap segmentations are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from SegDLEngine.errors import InputError
from SegDLEngine.images.dicom_files import class_name, damaged
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.planes import Frame, distinct_heights, intervals, plane_distance, slab
from SegDLEngine.images.segment_masks import SegmentMask

if TYPE_CHECKING:
    from pydicom import Dataset

SEG, LABELMAP_SEG = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"
# Directions of frames that differ by less are one (headers round).
PARALLEL = 2e-3


@dataclass(frozen=True)
class _Plane:
    """A frame: its number in the pixel data, its segments (empty for a labelmap), first pixel and axes."""

    number: int
    segments: tuple[int, ...]
    position: np.ndarray
    orientation: np.ndarray
    spacing: tuple[float, float]


def read_dicom_seg(path: str | Path, grid: Grid) -> list[SegmentMask]:
    """Every segment of a DICOM SEG as a mask on ``grid``: a voxel has the value of the nearest pixel.

    Raises InputError for another kind of file and for frames that cannot be placed.
    """
    source = Path(path)
    data, pixels = _read(source)
    planes = _planes(source, data)
    if len(pixels) != len(planes) or not planes:
        raise InputError(
            f"'{source}' has {len(pixels)} frames but positions for {len(planes)}.",
            hint="Export the segmentation again.",
        )
    frame = _common_frame(source, planes)
    heights = distinct_heights([float(frame.heights(plane.position)) for plane in planes])
    bounds = intervals(heights, _distance(data, heights, grid, frame))
    labelmap = str(data.SOPClassUID) == LABELMAP_SEG or data.get("SegmentationType") == "LABELMAP"
    fraction = _threshold(data)
    found = []
    for segment in data.get("SegmentSequence") or []:
        number = int(segment.SegmentNumber)
        mask = np.zeros(grid.shape, dtype=bool)
        for plane in planes:
            if labelmap or number in plane.segments:
                frame_pixels = pixels[plane.number]
                chosen = frame_pixels == number if labelmap else frame_pixels >= fraction
                nearest = int(np.abs(heights - frame.heights(plane.position)).argmin())
                _paint(mask, grid, frame, plane, chosen, bounds[nearest])
        found.append(SegmentMask(str(segment.get("SegmentLabel", number)), mask, grid, _terminology(segment)))
    if not found:
        raise InputError(f"'{source}' describes no segments.", hint="Export the segmentation again.")
    return found


def referenced_series(data: Dataset) -> set[str]:
    """SeriesInstanceUIDs of the images that were segmented."""
    return {str(item.get("SeriesInstanceUID", "")) for item in data.get("ReferencedSeriesSequence") or []}


def coded(item: Dataset) -> dict[str, str]:
    """A code as model cards write it; 'SRT' and 'SNOMED' are old names of other codes and are kept."""
    return {
        "scheme": str(item.get("CodingSchemeDesignator", "")),
        "code": str(item.get("CodeValue") or item.get("LongCodeValue") or ""),
        "meaning": str(item.get("CodeMeaning", "")),
    }


def _paint(
    mask: np.ndarray, grid: Grid, frame: Frame, plane: _Plane, chosen: np.ndarray, bound: tuple[float, float]
) -> None:
    """Set the voxels of the plane whose nearest pixel is chosen."""
    rows, columns = np.nonzero(chosen)
    if not rows.size:
        return
    u, v = plane.spacing
    corners = np.array(
        [(column, row) for column in (columns.min() - 0.5, columns.max() + 0.5)
         for row in (rows.min() - 0.5, rows.max() + 0.5)]
    )  # fmt: skip
    voxels = slab(grid, frame, plane.position + corners * (u, v) @ np.stack([frame.u, frame.v]), bound)
    if voxels is None:
        return
    place = (voxels.uv - frame.project(plane.position)) / (u, v)
    column, row = np.floor(place + 0.5).astype(int).T
    inside = (column >= 0) & (column < chosen.shape[1]) & (row >= 0) & (row < chosen.shape[0])
    hit = np.zeros(len(row), dtype=bool)
    hit[inside] = chosen[row[inside], column[inside]]
    mask[voxels.k[hit], voxels.j[hit], voxels.i[hit]] = True


def _read(path: Path) -> tuple[Dataset, np.ndarray]:
    """The object and its frames (frame, row, column)."""
    import pydicom

    try:
        data = pydicom.dcmread(path, force=True)
        kind = str(data.get("SOPClassUID", ""))
        pixels = data.pixel_array if kind in (SEG, LABELMAP_SEG) else np.empty(0)
    except Exception as error:
        raise damaged(path, error) from error
    if kind not in (SEG, LABELMAP_SEG):
        raise InputError(f"'{path}' is no DICOM segmentation but {class_name(data)}.")
    return data, pixels.reshape(-1, *pixels.shape[-2:])


def _planes(path: Path, data: Dataset) -> list[_Plane]:
    shared = list(data.get("SharedFunctionalGroupsSequence") or [])
    planes = []
    for number, item in enumerate(data.get("PerFrameFunctionalGroupsSequence") or []):
        groups = [item, *shared]
        rows, columns = _numbers(path, groups, "PixelMeasuresSequence", "PixelSpacing", 2)
        identified = [group for part in groups for group in part.get("SegmentIdentificationSequence") or []]
        planes.append(
            _Plane(
                number=number,
                segments=tuple(int(group.ReferencedSegmentNumber) for group in identified[:1]),
                position=_numbers(path, groups, "PlanePositionSequence", "ImagePositionPatient", 3),
                orientation=_numbers(path, groups, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
                .reshape(2, 3),
                spacing=(float(columns), float(rows)),
            )
        )  # fmt: skip
    return planes


def _numbers(path: Path, groups: Sequence[Dataset], sequence: str, name: str, count: int) -> np.ndarray:
    for group in groups:
        for item in group.get(sequence) or []:
            if item.get(name) is not None:
                values = np.atleast_1d(np.asarray(item.get(name), dtype=float))
                if values.shape == (count,) and np.all(np.isfinite(values)):
                    return values
    raise InputError(
        f"'{path}' lacks a usable {name} for a frame; the segmentation cannot be placed.",
        hint="Export it again with its geometry.",
    )


def _common_frame(path: Path, planes: Sequence[_Plane]) -> Frame:
    first = planes[0].orientation
    for plane in planes:
        if np.abs(plane.orientation - first).max() > PARALLEL:
            raise InputError(f"'{path}' has frames that are not parallel.", hint="Export one orientation.")
    row = first[0] / np.linalg.norm(first[0])
    column = first[1] - row * (row @ first[1])
    return Frame(row, column / np.linalg.norm(column))


def _distance(data: Dataset, heights: np.ndarray, grid: Grid, frame: Frame) -> float:
    """Distance of neighbouring planes.

    Empty frames may be left out, so the smallest step is the distance or a multiple of it; the slices of an
    image may overlap, so their thickness is the distance or more.
    """
    limits = [float(np.diff(heights).min())] if len(heights) > 1 else []
    for group in data.get("SharedFunctionalGroupsSequence") or []:
        for item in group.get("PixelMeasuresSequence") or []:
            if item.get("SpacingBetweenSlices"):
                return float(item.SpacingBetweenSlices)
            if item.get("SliceThickness"):
                limits.append(float(item.SliceThickness))
    return min(limits) if limits else plane_distance(heights, grid, frame)


def _threshold(data: Dataset) -> float:
    """From which stored value on a pixel belongs to its segment."""
    if data.get("SegmentationType") == "FRACTIONAL":
        return float(data.get("MaximumFractionalValue", 255)) / 2
    return 1.0


def _terminology(segment: Dataset) -> dict[str, dict[str, str]]:
    found = {}
    for name, keyword, modifier in (
        ("category", "SegmentedPropertyCategoryCodeSequence", ""),
        ("type", "SegmentedPropertyTypeCodeSequence", "SegmentedPropertyTypeModifierCodeSequence"),
        ("region", "AnatomicRegionSequence", "AnatomicRegionModifierSequence"),
    ):
        for item in list(segment.get(keyword) or [])[:1]:
            found[name] = coded(item)
            for more in list(item.get(modifier) or [])[:1] if modifier else []:
                found[f"{name}_modifier"] = coded(more)
    return found
