"""Writes small CT series as DICOM files, whole or with a chosen fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def ct_values(slices: int = 6, rows: int = 12, columns: int = 10) -> np.ndarray:
    """Hounsfield values (k, j, i) of which no two slices are alike."""
    generator = np.random.default_rng(7)
    return generator.integers(-1000, 1500, (slices, rows, columns)).astype(np.int16)


def write_series(
    folder: Path,
    values: np.ndarray,
    *,
    names: Sequence[str] | None = None,
    uid: str = "",
    orientation: Sequence[float] = AXIAL,
    spacing: tuple[float, float] = (0.8, 0.7),
    origin: Sequence[float] = (-20.0, 30.0, -100.0),
    step: Sequence[float] | None = None,
    thickness: float = 2.5,
    rescale: Sequence[tuple[float, float]] | tuple[float, float] = (1.0, -1024.0),
    changes: Mapping[int, Mapping[str, Any]] | None = None,
) -> list[Path]:
    """One file for each slice of ``values`` (k, j, i; after rescaling); returns their paths in slice order.

    ``spacing`` is (i, j) in mm; ``step`` the vector from slice to slice (LPS, mm), the normal times
    ``thickness`` by default.  ``changes`` sets attributes of single slices, as ``{2: {"Rows": 5}}``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    row, column = np.asarray(orientation[:3]), np.asarray(orientation[3:])
    move = np.cross(row, column) * thickness if step is None else np.asarray(step)
    series, study = uid or generate_uid(), generate_uid()
    paths = []
    for index, plane in enumerate(values):
        slope, intercept = rescale if isinstance(rescale[0], float) else rescale[index]
        stored = np.rint((plane.astype(float) - intercept) / slope).astype(np.int16)
        path = folder / (names[index] if names else f"slice{index:03d}.dcm")
        data = _dataset(path, stored, series, study)
        data.ImagePositionPatient = [f"{number:.10g}" for number in np.asarray(origin) + index * move]
        data.ImageOrientationPatient = [f"{number:.10g}" for number in orientation]
        data.PixelSpacing = [spacing[1], spacing[0]]
        data.SliceThickness = thickness
        data.RescaleSlope, data.RescaleIntercept, data.RescaleType = slope, intercept, "HU"
        data.InstanceNumber = len(values) - index
        for name, value in (changes or {}).get(index, {}).items():
            setattr(data, name, value)
        data.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _dataset(path: Path, stored: np.ndarray, series: str, study: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CT_IMAGE
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), pydicom.Dataset(), file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = CT_IMAGE, meta.MediaStorageSOPInstanceUID
    data.SeriesInstanceUID, data.StudyInstanceUID = series, study
    data.FrameOfReferenceUID = study
    data.PatientName, data.PatientID = "Secret^Name", "SECRET-ID"
    data.Modality, data.SeriesDescription, data.ImageType = (
        "CT",
        "Test series",
        ["ORIGINAL", "PRIMARY", "AXIAL"],
    )
    data.Rows, data.Columns = stored.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
    data.PixelData = stored.tobytes()
    return data
