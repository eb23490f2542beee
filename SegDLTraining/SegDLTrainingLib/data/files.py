"""Which files decide about what is read from a path: what must be unchanged for a prepared case to hold."""

from __future__ import annotations

import re
from pathlib import Path

from SegDLEngine.errors import InputError
from SegDLEngine.images.reading import split_series
from SegDLEngine.images.segment_masks import segments_kind

from SegDLTrainingLib.data.names import is_image_file

_HEADER_BYTES = 1 << 16
_DETACHED = re.compile(
    rb"^\s*(?:data ?file\s*:|ElementDataFile\s*=)\s*(.+?)\s*$", re.IGNORECASE | re.MULTILINE
)
_NUMBER = re.compile(r"%\d*d")


def files_of(path: str) -> list[Path]:
    """The files behind an image or labels as a case names them, sorted; [] if there is nothing at the path.

    A header brings the files with its voxels along, one file of a DICOM series its whole folder, a folder
    all that is below it.
    """
    try:
        place, _ = split_series(path)
    except InputError:
        return []
    if place.is_dir():
        return sorted(file for file in place.rglob("*") if file.is_file())
    if is_image_file(place.name):
        return sorted({place, *_detached(place)})
    if segments_kind(place):
        return [place]
    return sorted(file for file in place.parent.iterdir() if file.is_file())


def _detached(header: Path) -> list[Path]:
    """The files with voxels that a NRRD or MetaImage header names."""
    if header.suffix.lower() not in (".nhdr", ".nrrd", ".mhd", ".mha"):
        return []
    with header.open("rb") as stream:
        start = stream.read(_HEADER_BYTES).replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    found = _DETACHED.search(start)
    if found is None:
        return []
    named = found[1].decode("utf-8", "replace")
    if named.upper() == "LOCAL":
        return []
    if named.upper().startswith("LIST"):
        names = [line.strip() for line in start[found.end() :].decode("utf-8", "replace").splitlines()]
    elif _NUMBER.search(named):
        pattern = _NUMBER.sub("*", named.split()[0])
        return sorted(header.parent.glob(pattern))
    else:
        names = [named]
    return [file for name in names if name and (file := header.parent / name).is_file()]
