"""Reading images and labelmaps; every unusable file ends in one InputError that names it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from SegDLEngine.errors import InputError
from SegDLEngine.images.conversion import from_sitk
from SegDLEngine.images.image import Image
from SegDLEngine.images.integrity import check_complete

if TYPE_CHECKING:
    import SimpleITK

Warn = Callable[[str, str], None]

FORMATS = {
    ".nrrd": "nrrd",
    ".nhdr": "nrrd",
    ".nii": "nifti",
    ".nii.gz": "nifti",
    ".mha": "metaimage",
    ".mhd": "metaimage",
}


def read_image(
    path: str | os.PathLike[str], *, modality: str = "", unit: str = "", warn: Warn | None = None
) -> Image:
    """The scalar 3D image of a NRRD, NIfTI or MetaImage file, a DICOM folder or one file of a DICOM series.

    A folder with several series takes the series after a ``#``: ``folder#SeriesInstanceUID``; a 4D file, as
    of the Medical Segmentation Decathlon, takes the number of a volume: ``file.nii.gz#1``.  The array has
    the stored type; DICOM is rescaled to int16, or float32 where int16 does not hold the values.
    ``modality`` (CT, PT, MR) and ``unit`` (HU, SUV, BQML) fill in what the file does not say; a DICOM PET in
    BQML or counts is converted to the ``unit`` SUV.
    ``warn(code, text)`` hears of what was put right.  Raises InputError.
    """
    source, series = split_series(path)
    if source.is_dir() or _extension(source) not in FORMATS:
        from SegDLEngine.images.dicom import read_series

        image = read_series(source, series, unit=unit, warn=warn)
        return replace(image, modality=image.modality or modality, unit=image.unit or unit)
    try:
        image = from_sitk(_read_volume(source, series), modality, unit)
    except ValueError as error:
        raise InputError(
            f"'{source}' has an unusable geometry: {error}.", hint="Export the image again."
        ) from error
    return replace(image, metadata={"path": str(source)})


def read_labels(path: str | os.PathLike[str], *, warn: Warn | None = None) -> Image:
    """A labelmap as uint8, or uint16 when a label exceeds 255; 0 is background.  Raises InputError.

    Of a ``.seg.nrrd`` with overlapping segments, the later segment wins and ``warn`` hears of it.
    """
    source, _ = split_series(path)
    if _extension(source) == ".nrrd" and source.is_file():
        from SegDLEngine.images.segmentation_file import is_segmentation, read_segmentation

        if is_segmentation(source):
            return read_segmentation(source, warn=warn).labels
    image = read_image(path, warn=warn)
    return image.with_array(as_labels(image.array, source))


def as_labels(array: np.ndarray, source: str | os.PathLike[str]) -> np.ndarray:
    """The array as uint8 or uint16; raises InputError when its values are not whole numbers 0..65535."""
    low, high = array.min(), array.max()
    whole = array.dtype.kind in "bui" or bool(np.all(array == np.rint(array)))
    if not whole or low < 0 or high > np.iinfo(np.uint16).max:
        raise InputError(
            f"'{source}' is not a labelmap: values {low:g} to {high:g}, not whole numbers 0 to 65535.",
            hint="Give a labelmap or a .seg.nrrd segmentation.",
        )
    return array.astype(np.uint8 if high <= 255 else np.uint16)


def split_series(path: str | os.PathLike[str]) -> tuple[Path, str]:
    """The existing path and the series UID behind its last '#', '' if none; raises InputError if missing."""
    text = os.fspath(path)
    whole = Path(text).expanduser()
    if whole.exists():
        return whole, ""
    before, mark, series = text.rpartition("#")
    if mark and Path(before).expanduser().exists():
        return Path(before).expanduser(), series.strip()
    raise InputError(f"'{text}' does not exist.", hint="Check the path.", code="not-found")


def existing_source(path: str | os.PathLike[str]) -> Path:
    """The file or folder that ``path`` means, without what follows a "#"; itself if nothing is there."""
    try:
        return split_series(path)[0]
    except InputError:
        return Path(path).expanduser()


def _extension(path: Path) -> str:
    """Lower-case extension, with both parts of '.nii.gz'."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix


def _read_volume(path: Path, number: str) -> SimpleITK.Image:
    """A SimpleITK image that is scalar and 3D, of a 4D file the volume ``number``; raises InputError."""
    import SimpleITK

    if path.stat().st_size == 0:
        raise InputError(f"'{path}' is empty (0 bytes).", hint="Copy or export the file again.")
    check_complete(path, FORMATS[_extension(path)])
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    warned = SimpleITK.ProcessObject.GetGlobalWarningDisplay()
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        reader.ReadImageInformation()
        _check_layout(path, reader.GetSize(), reader.GetNumberOfComponents(), number)
        return _volume(reader.Execute(), int(number or 0))
    except RuntimeError as error:
        if "orthonormal" in str(error):
            raise InputError(
                f"'{path}' has axes that are not at right angles (a sheared NIfTI sform).",
                hint="Resample it to a straight grid, or save it as NRRD.",
                detail=str(error),
            ) from error
        raise InputError(
            f"'{path}' cannot be read: {_reason(error)}.",
            hint="The file may be damaged; export the image again.",
            detail=str(error),
        ) from error
    finally:
        SimpleITK.ProcessObject.SetGlobalWarningDisplay(warned)


def _check_layout(path: Path, size: tuple[int, ...], components: int, number: str) -> None:
    """Refuse what is not one scalar volume, or has no volume ``number``, before the voxels are read."""
    lengths = " x ".join(map(str, size))
    if components != 1:
        raise InputError(
            f"'{path}' has {components} values in every voxel (a colour or vector image); one is expected.",
            hint="Give the grey-value image.",
        )
    if len(size) < 3:
        raise InputError(
            f"'{path}' is a 2D image ({lengths}); a volume is expected.", hint="Give the 3D image."
        )
    if number and (not number.isdigit() or len(size) != 4 or int(number) >= size[3]):
        count = size[3] if len(size) == 4 else 1
        raise InputError(
            f"'{path}' has no volume '#{number}'; it has {count}.", hint="The first volume has the number 0."
        )
    if not number and any(length > 1 for length in size[3:]):
        raise InputError(
            f"'{path}' has {len(size)} dimensions ({lengths}); one 3D volume is expected.",
            hint=f"Choose a volume by its number, as in '{path.name}#0'.",
        )


def _volume(image: SimpleITK.Image, number: int) -> SimpleITK.Image:
    """The volume ``number`` of a 4D image; further dimensions of length 1 are dropped."""
    import SimpleITK

    while image.GetDimension() > 3:
        start = [0] * (image.GetDimension() - 1) + [number if image.GetDimension() == 4 else 0]
        image = SimpleITK.Extract(image, [*image.GetSize()[:-1], 0], start)
    return image


def _reason(error: Exception) -> str:
    """The last telling line of an ITK message."""
    lines = [line.strip() for line in str(error).splitlines() if re.search("[A-Za-z]{4}", line)]
    text = re.sub(r"^(sitk::|ITK )ERROR: |\w+\(0x[0-9a-f]+\): ", "", lines[-1]) if lines else ""
    return text.rstrip(".") or type(error).__name__
