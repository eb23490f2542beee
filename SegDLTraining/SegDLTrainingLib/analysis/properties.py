"""Properties of cases that their reference masks tell: slice thickness and tumour size (report 001)."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from SegDLEngine.errors import InputError
from SegDLEngine.images.image import Image
from SegDLEngine.images.reading import read_labels
from SegDLEngine.measurement.cohort import LABEL_EXTENSIONS
from SegDLEngine.measurement.lesions import lesion_table
from SegDLEngine.preprocessing.lungs.orientation import PatientOrder

THICKNESS, DIAMETER = "slice_thickness_mm", "diameter_mm"


def slice_thickness(image: Image) -> float:
    """Distance (mm) of axial slices."""
    return PatientOrder.of(image.grid).spacing(image.grid)[0]


def largest_diameter(labels: Image, value: int | None = None) -> float:
    """Longest axial diameter (mm) of a lesion of ``value``, or of any label; 0 without lesions."""
    mask = labels.array > 0 if value is None else labels.array == value
    lesions = labels.with_array(mask.astype(np.uint8))
    rows = lesion_table(lesions, {1: "lesion"}, lesions)
    return max((row["long_axis_mm"] for row in rows), default=0.0)


def measure(name: str, path: Path, value: int | None) -> float:
    """THICKNESS or DIAMETER of a reference file."""
    labels = read_labels(path)
    return slice_thickness(labels) if name == THICKNESS else largest_diameter(labels, value)


def reference_files(source: Path) -> Mapping[str, Path]:
    """Reference by case: of a folder by file name, or of a table with the columns case and reference."""
    if source.is_dir():
        found = {}
        for path in sorted(source.iterdir()):
            extension = next((end for end in LABEL_EXTENSIONS if path.name.lower().endswith(end)), None)
            if extension:
                found[path.name[: -len(extension)]] = path
        return found
    try:
        with source.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        return {row["case"]: source.parent / row["reference"] for row in rows}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        raise InputError(
            f"The references {source} cannot be read: {error}.",
            hint="Give what segdl evaluate had: a folder, or a table with the columns case and reference.",
        ) from error
