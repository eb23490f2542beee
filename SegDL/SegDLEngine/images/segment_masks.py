"""Segments as separate masks: what DICOM SEG, RTSTRUCT and .seg.nrrd files have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from SegDLEngine.errors import InputError
from SegDLEngine.images.grid import Grid

Warn = Callable[[str, str], None]


@dataclass(frozen=True, eq=False)
class SegmentMask:
    """One segment: ``mask`` bool (k, j, i) on ``grid``; ``terminology`` as in a model card, {} if uncoded."""

    name: str
    mask: np.ndarray
    grid: Grid
    terminology: dict[str, dict[str, str]] = field(default_factory=dict)


def segments_kind(path: Path) -> str:
    """What holds the segments of ``path``: 'rtstruct', 'seg', 'nrrd' (.seg.nrrd), or '' for none of them."""
    from SegDLEngine.images.dicom_files import is_dicom, read_header
    from SegDLEngine.images.segmentation_file import is_segmentation

    if not path.is_file():
        return ""
    if path.name.lower().endswith(".nrrd"):
        return "nrrd" if is_segmentation(path) else ""
    if not is_dicom(path):
        return ""
    header = read_header(path)
    modality = "" if header is None else str(header.get("Modality", ""))
    return {"RTSTRUCT": "rtstruct", "SEG": "seg"}.get(modality, "")


def read_segment_masks(path: str | Path, grid: Grid, *, warn: Warn | None = None) -> list[SegmentMask]:
    """The segments of a DICOM SEG or RTSTRUCT on ``grid``, those of a .seg.nrrd on its own grid.

    Raises InputError, also for a file that holds no segments.
    """
    source = Path(path)
    readers = {"rtstruct": _rtstruct, "seg": _seg, "nrrd": _nrrd}
    kind = segments_kind(source)
    if kind not in readers:
        raise InputError(
            f"'{source}' holds no segments.",
            hint="Give a DICOM SEG, an RTSTRUCT or a .seg.nrrd segmentation.",
        )
    try:
        return readers[kind](source, grid, warn)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        # A field that is missing, or is not of its kind, shows itself as any of these.
        raise InputError(
            f"'{source}' cannot be read as segments: it is incomplete or damaged.",
            hint="Export the segmentation again.",
            detail=f"{type(error).__name__}: {error}",
        ) from error


def _rtstruct(path: Path, grid: Grid, warn: Warn | None) -> list[SegmentMask]:
    from SegDLEngine.images.rtstruct import read_rtstruct

    return read_rtstruct(path, grid, warn=warn)


def _seg(path: Path, grid: Grid, warn: Warn | None) -> list[SegmentMask]:
    from SegDLEngine.images.dicom_seg import read_dicom_seg

    return read_dicom_seg(path, grid)


def _nrrd(path: Path, grid: Grid, warn: Warn | None) -> list[SegmentMask]:
    from SegDLEngine.images.segmentation_file import read_layers

    return read_layers(path)
