"""Finding DICOM images: which files of a folder are slices of which series, from their headers alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from SegDLEngine.errors import InputError

if TYPE_CHECKING:
    from pydicom import Dataset

CT, MR, PET = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.128"
ENHANCED_PET = "1.2.840.10008.5.1.4.1.1.130"
IMAGE_CLASSES = {CT, MR, PET, f"{CT}.1", f"{CT}.2", f"{MR}.1", f"{MR}.4", f"{PET}.1", ENHANCED_PET}

# Only these are read from a header: fast, and no name or birth date of a patient ever gets into memory.
TAGS = [
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "FrameOfReferenceUID",
    "Modality",
    "SeriesDescription",
    "ImageType",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "NumberOfFrames",
    "PixelSpacing",
    "SliceThickness",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "Units",
    "SUVType",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]

# What the first header says for the whole series.
SERIES_TAGS = (
    "Modality",
    "SeriesDescription",
    "StudyInstanceUID",
    "FrameOfReferenceUID",
    "RescaleType",
    "Units",
    "SUVType",
)


@dataclass(frozen=True, eq=False)
class Slice:
    """One image plane: frame ``frame`` of ``path``.

    ``position`` of its first voxel (LPS, mm), ``orientation`` (2, 3) the unit vectors along i and j,
    ``spacing`` (i, j) in mm, ``thickness`` in mm (None if unknown), ``rescale`` slope and intercept.
    """

    path: Path
    frame: int
    size: tuple[int, int]
    position: np.ndarray
    orientation: np.ndarray
    spacing: tuple[float, float]
    thickness: float | None
    rescale: tuple[float, float]


@dataclass
class Series:
    """The slices of one SeriesInstanceUID and what their first header says of them all."""

    uid: str
    header: dict[str, str]
    slices: list[Slice] = field(default_factory=list)
    localizers: list[Slice] = field(default_factory=list)
    instances: set[str] = field(default_factory=set)
    copies: int = 0

    @property
    def title(self) -> str:
        """One phrase for a message that offers a choice."""
        description = self.header["SeriesDescription"] or "no description"
        count = len(self.slices) or len(self.localizers)
        return f"{self.header['Modality']} '{description}', {count} images (#{self.uid})"


def find_series(
    paths: Iterable[Path], *, only: str = "", other: Callable[[Path, Dataset], None] | None = None
) -> tuple[dict[str, Series], dict[str, int]]:
    """Series by UID, and how many DICOM files were of another class (by the name of the class).

    ``only`` limits the answer to one series; ``other`` hears of each file of another class, with its header.
    Raises InputError for an image whose header is damaged.
    """
    found: dict[str, Series] = {}
    others: dict[str, int] = {}
    for path in paths:
        header = read_header(path)
        if header is None:
            continue
        if str(header.get("SOPClassUID", "")) not in IMAGE_CLASSES:
            name = class_name(header)
            others[name] = others.get(name, 0) + 1
            if other is not None:
                other(path, header)
        elif not only or _text(header, "SeriesInstanceUID") == only:
            _add(found, path, header)
    return found, others


def read_header(path: Path) -> Dataset | None:
    """The attributes TAGS of a DICOM file, None if it is none; raises InputError if it is damaged."""
    import pydicom

    if not is_dicom(path):
        return None
    try:
        return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=TAGS, force=True)
    except Exception as error:
        raise damaged(path, error) from error


def is_dicom(path: Path) -> bool:
    """True if the file begins like DICOM, with the preamble or (old files) without."""
    try:
        with path.open("rb") as stream:
            start = stream.read(132)
    except OSError as error:
        raise InputError(f"'{path}' cannot be read: {error.strerror or error}.") from error
    return start[128:] == b"DICM" or start[:4] in (b"\x08\x00\x05\x00", b"\x08\x00\x00\x00")


def class_name(header: Dataset) -> str:
    """The name of what a DICOM file holds, such as 'RT Structure Set Storage'."""
    from pydicom.uid import UID

    meta = getattr(header, "file_meta", {})
    uid = header.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID") or ""
    return UID(str(uid)).name or "unknown class"


def damaged(path: Path, error: Exception) -> InputError:
    """The error for a DICOM file that cannot be decoded."""
    return InputError(
        f"'{path}' is damaged or cut off: its DICOM data cannot be decoded.",
        hint="Export the series again.",
        detail=f"{type(error).__name__}: {error}",
    )


def files_below(folder: Path) -> list[Path]:
    """The files of a folder, in order of their names; those of all its subfolders if itself has no DICOM."""
    direct = sorted(entry for entry in folder.iterdir() if entry.is_file())
    if any(map(is_dicom, direct)):
        return direct
    return sorted(Path(root) / name for root, _, names in os.walk(folder) for name in names)


def _add(found: dict[str, Series], path: Path, header: Dataset) -> None:
    uid = _text(header, "SeriesInstanceUID")
    series = found.setdefault(uid, Series(uid, {key: _text(header, key) for key in SERIES_TAGS}))
    instance = _text(header, "SOPInstanceUID")
    if instance and instance in series.instances:
        series.copies += 1
        return
    series.instances.add(instance)
    if int(header.get("SamplesPerPixel", 1) or 1) != 1:
        raise InputError(f"'{path}' is a colour image; a grey-value image is expected.")
    localizer = "LOCALIZER" in [str(word).upper() for word in header.get("ImageType") or []]
    (series.localizers if localizer else series.slices).extend(_slices(path, header))


def _slices(path: Path, header: Dataset) -> Iterator[Slice]:
    """The planes of one file: one, or the frames of a multi-frame (enhanced) object."""
    if "PerFrameFunctionalGroupsSequence" not in header:
        if int(header.get("NumberOfFrames", 1) or 1) > 1:
            raise InputError(
                f"'{path}' has several frames without a position for each; they cannot be placed.",
                hint="Export it as single images or as an enhanced object.",
            )
        yield _slice(path, 0, header, [header])
        return
    shared = list(header.get("SharedFunctionalGroupsSequence") or [])
    for number, frame in enumerate(header.PerFrameFunctionalGroupsSequence):
        yield _slice(path, number, header, [group for part in (frame, *shared) for group in _groups(part)])


def _groups(part: Dataset) -> Iterator[Dataset]:
    """The items that carry a frame's geometry and rescaling."""
    for name in (
        "PlanePositionSequence",
        "PlaneOrientationSequence",
        "PixelMeasuresSequence",
        "PixelValueTransformationSequence",
    ):
        yield from part.get(name) or []


def _slice(path: Path, frame: int, header: Dataset, sources: list[Dataset]) -> Slice:
    def numbers(name: str, count: int) -> np.ndarray:
        value = next((source.get(name) for source in sources if source.get(name) is not None), None)
        try:
            array = np.atleast_1d(np.asarray(value, dtype=float))
        except (TypeError, ValueError):
            array = np.empty(0)
        if array.shape != (count,) or not np.all(np.isfinite(array)):
            raise InputError(
                f"'{path}' lacks a usable {name}; the image cannot be placed in the patient.",
                hint="Export the series again with its geometry.",
            )
        return array

    def number(name: str) -> float | None:
        value = next((source.get(name) for source in sources if source.get(name) is not None), None)
        return None if value is None or value == "" else float(value)

    slope, intercept = number("RescaleSlope"), number("RescaleIntercept")
    if slope == 0:
        raise InputError(f"'{path}' has the RescaleSlope 0, which erases all values.")
    rows, columns = numbers("PixelSpacing", 2)
    if not min(rows, columns) > 0:
        raise InputError(
            f"'{path}' has the PixelSpacing {rows:g} x {columns:g}; positive lengths are expected."
        )
    return Slice(
        path=path,
        frame=frame,
        size=(int(header.get("Columns", 0)), int(header.get("Rows", 0))),
        position=numbers("ImagePositionPatient", 3),
        orientation=numbers("ImageOrientationPatient", 6).reshape(2, 3),
        spacing=(float(columns), float(rows)),
        thickness=number("SliceThickness"),
        rescale=(1.0 if slope is None else slope, 0.0 if intercept is None else intercept),
    )


def _text(header: Any, name: str) -> str:
    value = header.get(name)
    return "" if value is None else " ".join(str(value).split())
