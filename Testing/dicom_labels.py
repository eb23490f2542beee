"""Writes small DICOM segmentations (SEG) and structure sets (RTSTRUCT) for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from SegDLEngine.images.grid import Grid

RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
SEG = "1.2.840.10008.5.1.4.1.1.66.4"


def item(**values) -> Dataset:
    """A sequence item with these attributes."""
    data = Dataset()
    for name, value in values.items():
        setattr(data, name, value)
    return data


def write_rtstruct(path: Path, regions: Mapping[str, Sequence[np.ndarray]], *, series: str = "") -> Path:
    """Closed planar contours, (N, 3) LPS points in mm each, by the name of the region."""
    data = _file(path, RTSTRUCT, "RTSTRUCT")
    numbered = list(enumerate(regions.items(), start=1))
    data.StructureSetROISequence = [item(ROINumber=n, ROIName=name) for n, (name, _) in numbered]
    data.ROIContourSequence = [
        item(ReferencedROINumber=n, ContourSequence=[_contour(points) for points in contours])
        for n, (_, contours) in numbered
    ]
    if series:
        referenced = item(RTReferencedSeriesSequence=[item(SeriesInstanceUID=series)])
        data.ReferencedFrameOfReferenceSequence = [item(RTReferencedStudySequence=[referenced])]
    return _save(data, path)


def write_seg(
    path: Path,
    grid: Grid,
    segments: Mapping[str, tuple[np.ndarray, Mapping[str, tuple[str, str, str]]]],
    *,
    series: str = "",
    kind: str = "BINARY",
    order: Sequence[int] | None = None,
) -> Path:
    """Segments on ``grid``: name -> (mask (k, j, i), codes by 'category', 'type', 'region').

    Empty frames are left out; ``order`` permutes the frames.
    """
    data = _file(path, SEG, "SEG")
    frames = [
        (number, k, mask[k])
        for number, (mask, _) in enumerate(segments.values(), start=1)
        for k in range(len(mask))
        if mask[k].any()
    ]
    frames = [frames[index] for index in order] if order is not None else frames
    data.SegmentationType = kind
    data.SegmentSequence = [
        _segment(number, name, codes) for number, (name, (_, codes)) in enumerate(segments.items(), start=1)
    ]
    data.SharedFunctionalGroupsSequence = [_shared(grid)]
    data.PerFrameFunctionalGroupsSequence = [_placed(grid, number, k) for number, k, _ in frames]
    if series:
        data.ReferencedSeriesSequence = [item(SeriesInstanceUID=series)]
    data.NumberOfFrames, data.Rows, data.Columns = len(frames), grid.size[1], grid.size[0]
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    pixels = np.stack([plane for _, _, plane in frames])
    if kind == "BINARY":
        data.BitsAllocated = data.BitsStored = 1
        packed = np.packbits(pixels.astype(bool).ravel(), bitorder="little").tobytes()
    else:
        data.BitsAllocated = data.BitsStored = 8
        data.MaximumFractionalValue = 200
        packed = np.asarray(pixels, np.uint8).tobytes()
    data.HighBit = data.BitsStored - 1
    data.PixelData = packed + b"\0" * (len(packed) % 2)
    return _save(data, path)


def _contour(points: np.ndarray) -> Dataset:
    values = [f"{number:.10g}" for number in np.asarray(points, dtype=float).ravel()]
    return item(
        ContourGeometricType="CLOSED_PLANAR", NumberOfContourPoints=len(values) // 3, ContourData=values
    )


def _segment(number: int, name: str, codes: Mapping[str, tuple[str, str, str]]) -> Dataset:
    data = item(SegmentNumber=number, SegmentLabel=name)
    keywords = {
        "category": "SegmentedPropertyCategoryCodeSequence",
        "type": "SegmentedPropertyTypeCodeSequence",
        "region": "AnatomicRegionSequence",
    }
    for key, (scheme, code, meaning) in codes.items():
        entry = item(CodingSchemeDesignator=scheme, CodeValue=code, CodeMeaning=meaning)
        setattr(data, keywords[key], [entry])
    return data


def _shared(grid: Grid) -> Dataset:
    i, j, k = grid.spacing
    orientation = [f"{number:.12g}" for number in grid.axes.T[:2].ravel()]
    return item(
        PixelMeasuresSequence=[item(PixelSpacing=[j, i], SliceThickness=k, SpacingBetweenSlices=k)],
        PlaneOrientationSequence=[item(ImageOrientationPatient=orientation)],
    )


def _placed(grid: Grid, number: int, k: int) -> Dataset:
    position = [f"{value:.10g}" for value in grid.to_physical(np.array([[0, 0, k]]))[0]]
    return item(
        SegmentIdentificationSequence=[item(ReferencedSegmentNumber=number)],
        PlanePositionSequence=[item(ImagePositionPatient=position)],
    )


def _file(path: Path, kind: str, modality: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = kind
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), pydicom.Dataset(), file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
    data.SeriesInstanceUID, data.StudyInstanceUID = generate_uid(), generate_uid()
    data.PatientName, data.PatientID, data.Modality = "Secret^Name", "SECRET-ID", modality
    return data


def _save(data: FileDataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path
