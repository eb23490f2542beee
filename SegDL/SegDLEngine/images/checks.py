"""Is this image what the model expects?  Refuses what would give a confident wrong answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from SegDLEngine.errors import InputError
from SegDLEngine.images.display_window import is_windowed
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image

# CT in Hounsfield units has air or fat below 0 and, from noise alone, spans more than this.
NARROWEST_HU_RANGE = 50
# A CT in which nothing is darker than fat must still have this share of negative voxels.
FAT_HU, FEWEST_NEGATIVE = -100, 0.001
# Scanners write -32768..32767; anything beyond is no Hounsfield unit.
LARGEST_HU = 40000
# No scan of a patient has shorter voxels or is longer (mm): the geometry is in another unit, or broken.
SHORTEST_VOXEL, LONGEST_SIDE = 0.01, 5000
# Highest plausible SUV; Bq/ml of a clinical PET go far beyond.
LARGEST_SUV = 1000

_MODALITY = {"PET": "PT", "MRI": "MR"}


def check_image(
    image: Image, name: str, *, modality: str = "", unit: str = "", windowed: bool = False
) -> None:
    """Raise InputError unless ``image``, given as input ``name``, can be used.

    Refused: values that are not finite, a constant image, a geometry that cannot be in millimetres, another
    modality or unit than the card expects (``modality``, ``unit``; '' accepts any), and values that cannot be
    in HU or SUV where the file is silent.
    ``windowed`` accepts a CT stored as a display window 0..255, for a model that restores its HU.
    """
    what = _what(image, name)
    array = image.array
    if array.dtype.kind not in "biuf":
        raise InputError(f"{what} has values of type {array.dtype}; numbers are expected.")
    if array.dtype.kind == "f":
        bad = array.size - int(np.count_nonzero(np.isfinite(array)))
        if bad:
            raise InputError(
                f"{what} has {bad} of {array.size} values that are not finite (NaN or infinity).",
                hint="Replace them, for CT by -1000 HU, and try again.",
                code="not-finite",
            )
    low, high = float(array.min()), float(array.max())
    if low == high:
        raise InputError(
            f"{what} is constant: every voxel is {low:g}.", hint="Check the export.", code="constant"
        )
    _check_size(image.grid, what)
    _check_modality(image, what, modality)
    if unit and image.unit and image.unit != unit:
        raise InputError(
            f"{what} is in {image.unit}, the model expects {unit}.",
            hint=f"Convert the image to {unit}.",
            code="unit",
        )
    if unit == "HU" and array.dtype == np.int8:
        raise InputError(
            f"{what} has values of type int8, which cannot hold Hounsfield units.",
            hint="Give the original CT.",
            code="unit",
        )
    if unit == "HU" and not (windowed and is_windowed(array)):
        negative = float(np.mean(array < 0)) if FAT_HU < low < 0 else float(low < 0)
        _check_hounsfield(what, low, high, negative)
    elif unit == "SUV" and high > LARGEST_SUV:
        raise InputError(
            f"{what} reaches {high:g}, which is no SUV; it looks like an activity in Bq/ml or counts.",
            hint="Give the DICOM series, which is converted by itself, or a volume in SUV.",
            code="unit",
        )


def _check_size(grid: Grid, what: str) -> None:
    sides = [count * spacing for count, spacing in zip(grid.size, grid.spacing, strict=True)]
    if min(grid.spacing) < SHORTEST_VOXEL:
        found = f"has voxels of {_by(grid.spacing)} mm"
    elif max(sides) > LONGEST_SIDE:
        found = f"is {_by(sides)} mm large"
    else:
        return
    raise InputError(
        f"{what} {found}, unlike any scan of a patient.",
        hint="Check the spacing in its header: it must be in millimetres.",
        code="geometry",
    )


def _check_modality(image: Image, what: str, modality: str) -> None:
    found = _MODALITY.get(image.modality.upper(), image.modality.upper())
    expected = _MODALITY.get(modality.upper(), modality.upper())
    if found and expected and found != expected:
        raise InputError(
            f"{what} is {found}, the model expects {expected}.",
            hint="Give the image of that modality.",
            code="modality",
        )


def _check_hounsfield(what: str, low: float, high: float, negative: float) -> None:
    """``negative`` is the share of voxels below 0; it only matters where no voxel is fat or air."""
    if negative < FEWEST_NEGATIVE:
        if high <= 1:
            guess, hint = "it looks scaled to 0..1", "Give the original CT."
        elif high <= 255:
            guess, hint = "it looks like 8-bit display values", "Give the original CT."
        else:
            guess, hint = (
                "it looks like an MR, or a CT without its rescale intercept",
                "If it is a CT, subtract 1024 or export it in HU.",
            )
    elif high - low < NARROWEST_HU_RANGE:
        guess, hint = "it looks normalised", "Give the original CT."
    elif high > LARGEST_HU or low < -LARGEST_HU:
        guess, hint = "they are too large", "Give the original CT."
    else:
        return
    raise InputError(
        f"{what} is not in Hounsfield units: its values go from {low:g} to {high:g}; {guess}.",
        hint=hint,
        code="unit",
    )


def _by(lengths: Sequence[float]) -> str:
    return " x ".join(f"{length:g}" for length in lengths)


def _what(image: Image, name: str) -> str:
    path = image.metadata.get("path")
    return f"Input '{name}' ('{path}')" if path else f"Input '{name}'"
