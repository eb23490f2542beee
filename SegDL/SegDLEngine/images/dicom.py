"""Reading one DICOM series as one volume: sorted by position, rescaled slice by slice."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from SegDLEngine.errors import InputError
from SegDLEngine.images.dicom_files import (
    Series,
    Slice,
    class_name,
    damaged,
    files_below,
    find_series,
    read_header,
)
from SegDLEngine.images.dicom_geometry import Stack, arrange, straighten
from SegDLEngine.images.image import Image
from SegDLEngine.images.suv import suv_of_series

Warn = Callable[[str, str], None]

READABLE = "NRRD, NIfTI, MetaImage or DICOM"


def read_series(path: Path, uid: str = "", *, unit: str = "", warn: Warn | None = None) -> Image:
    """The volume of a DICOM series: a folder that holds it, or one of its files.

    ``uid``, or its unique end, chooses among several series.  The third axis is the normal of the slices, in
    ascending order.  int16 where all rescaled values are whole and fit, else float32.  ``unit``: HU for CT,
    the header's Units for PET (SUV for g/ml); ``unit`` SUV converts a PET in BQML or CNTS, with a warning
    and the factor in ``metadata``, see ``suv``.  ``metadata`` keeps UIDs and the series' description, nothing
    of the patient.  A tilted gantry is straightened by resampling, with a warning.  Raises InputError.
    """
    tell = warn or (lambda code, text: None)
    series = _in_folder(path, uid) if path.is_dir() else _of_file(path)
    slices = series.slices or series.localizers
    name = f"Series '{series.header['SeriesDescription'] or series.uid}' in '{path}'"
    if series.slices and series.localizers:
        tell("localizer", f"{name}: {len(series.localizers)} localizer images are left out.")
    if series.copies:
        tell("copies", f"{name}: {series.copies} copies of images are left out.")
    stack = arrange(slices, name, tell)
    modality = series.header["Modality"]
    metadata = _metadata(path, series, len(slices))
    image = Image(_voxels(stack), stack.grid, modality, _unit(series), metadata)
    if unit == "SUV" and modality == "PT" and image.unit != "SUV":
        image = _in_suv(image, stack, name, tell)
    if stack.tilt:
        tell(
            "gantry-tilt",
            f"{name} has a gantry tilt of {stack.tilt:.1f} degrees; it is resampled to a straight grid.",
        )
        image = straighten(image, outside=float(image.array.min()))
    return image


def _in_folder(folder: Path, uid: str) -> Series:
    found, others = find_series(files_below(folder))
    if not found:
        also = ", ".join(f"{count} {name}" for name, count in sorted(others.items()))
        raise InputError(
            f"'{folder}' has no DICOM image of CT, MR or PET{f' (but {also})' if also else ''}.",
            hint="Give the folder of one series.",
        )
    offers = "; ".join(series.title for series in itertools.islice(found.values(), 6))
    if uid:
        chosen = [series for key, series in found.items() if key == uid] or [
            series for key, series in found.items() if key.endswith(uid)
        ]
        if len(chosen) != 1:
            raise InputError(
                f"'{folder}' has {len(chosen) or 'no'} series '#{uid}'; it has {offers}.",
                hint="Give the whole SeriesInstanceUID.",
            )
        return chosen[0]
    if len(found) > 1:
        raise InputError(
            f"'{folder}' has {len(found)} series: {offers}.",
            hint=f"Choose one by its UID, as in '{folder}#{next(iter(found))}', or give one of its files.",
            code="several-series",
        )
    return next(iter(found.values()))


def _of_file(path: Path) -> Series:
    if path.stat().st_size == 0:
        raise InputError(f"'{path}' is empty (0 bytes).", hint="Copy or export the file again.")
    header = read_header(path)
    if header is None:
        raise InputError(f"'{path}' is no image that can be read.", hint=f"Give a {READABLE} image.")
    found, others = find_series([path])
    if others:
        raise InputError(
            f"'{path}' is no CT, MR or PET image but {class_name(header)}.",
            hint="Give an image of the series.",
        )
    uid = next(iter(found))
    siblings = sorted(entry for entry in path.parent.iterdir() if entry.is_file())
    return find_series(siblings, only=uid)[0][uid]


def _voxels(stack: Stack) -> np.ndarray:
    """Rescaled values (k, j, i)."""
    array: np.ndarray | None = None
    cache: dict[Path, np.ndarray] = {}
    several = len({item.path for item in stack.slices}) < len(stack.slices)
    for index, item in enumerate(stack.slices):
        if item.path in cache:
            frames = cache[item.path]
        else:
            frames = _frames(item)
            if several:
                cache[item.path] = frames
        plane = _rescaled(frames[item.frame], item.rescale)
        if array is None:
            array = np.empty(stack.grid.shape, dtype=plane.dtype)
        elif plane.dtype == np.float32 != array.dtype:
            array = array.astype(np.float32)
        array[index] = plane
    assert array is not None
    return array


def _frames(item: Slice) -> np.ndarray:
    """Stored values (frame, j, i) of the file of a slice."""
    import pydicom

    try:
        data = pydicom.dcmread(item.path, force=True)
        syntax = getattr(data.file_meta, "TransferSyntaxUID", None)
        if syntax is not None and syntax.is_compressed:
            several = int(data.get("NumberOfFrames", 1) or 1) > 1
            frames = data.pixel_array if several else _decompressed(item.path, item.rescale)
        else:
            if syntax is None:
                data.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
            frames = data.pixel_array
    except Exception as error:
        raise damaged(item.path, error) from error
    frames = frames.reshape(-1, *frames.shape[-2:])
    if frames.shape[1:] != item.size[::-1] or item.frame >= len(frames):
        raise damaged(item.path, ValueError(f"pixel data of shape {frames.shape}"))
    return frames


def _decompressed(path: Path, rescale: tuple[float, float]) -> np.ndarray:
    """Stored values of a compressed file: GDCM knows the codecs but rescales by itself, which is undone."""
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    values = SimpleITK.GetArrayFromImage(reader.Execute()).astype(np.float64)
    return np.rint((values - rescale[1]) / rescale[0])


def _rescaled(stored: np.ndarray, rescale: tuple[float, float]) -> np.ndarray:
    slope, intercept = rescale
    if float(slope).is_integer() and float(intercept).is_integer():
        values = stored.astype(np.int64) * int(slope) + int(intercept)
        kind = np.iinfo(np.int16)
        return values.astype(
            np.int16 if kind.min <= values.min() and values.max() <= kind.max else np.float32
        )
    return (stored.astype(np.float64) * slope + intercept).astype(np.float32)


def _in_suv(image: Image, stack: Stack, name: str, tell: Warn) -> Image:
    suv = suv_of_series([item.path for item in stack.slices], name)
    tell("suv", f"{name}: {suv.summary}.")
    array = np.multiply(image.array, suv.factors[:, None, None], dtype=np.float32, casting="unsafe")
    return replace(image, array=array, unit="SUV", metadata={**image.metadata, "suv": suv.details})


def _unit(series: Series) -> str:
    header = series.header
    if header["Modality"] == "CT":
        return {"": "HU", "HU": "HU", "HU_MOD": "HU", "US": ""}.get(
            header["RescaleType"], header["RescaleType"]
        )
    if header["Modality"] == "PT" and header["Units"] == "GML":
        kind = header["SUVType"]
        return "SUV" if kind in ("", "BW") else f"SUV{kind.lower()}"
    return header["Units"] if header["Modality"] == "PT" else ""


def _metadata(path: Path, series: Series, count: int) -> dict[str, Any]:
    kept = ("Modality", "SeriesDescription", "StudyInstanceUID", "FrameOfReferenceUID")
    known = {key: series.header[key] for key in kept if series.header[key]}
    return {"path": str(path), "SeriesInstanceUID": series.uid, **known, "images": count}
