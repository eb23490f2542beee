"""Writing images: whole files only, geometry exact.

NRRD and MetaImage keep the geometry in full double precision.  NIfTI stores it in float32, which for
millimetres in a body means errors of up to 6e-5 mm in the origin and 2e-7 of the voxel side.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from SegDLEngine.errors import InputError
from SegDLEngine.images.conversion import to_sitk
from SegDLEngine.images.image import Image

EXTENSIONS = (".nrrd", ".nii.gz", ".nii", ".mha")

# zlib's level 2 reaches the size of the default level 6 within 2 % in half of the time.
COMPRESSION_LEVEL = 2


def write_image(
    image: Image,
    path: str | os.PathLike[str],
    *,
    metadata: Mapping[str, Any] | None = None,
    compress: bool = True,
) -> Path:
    """Write ``image`` as .nrrd, .nii.gz, .nii or .mha; the file appears complete or not at all.

    ``metadata`` becomes key-value pairs of NRRD and MetaImage headers, tables and lists as JSON (NIfTI has no
    place for it).
    Raises InputError for another extension or a folder that is missing or cannot be written.
    """
    import SimpleITK

    target = Path(path).expanduser()
    extension = output_extension(target)
    converted = to_sitk(image)
    if extension in (".nrrd", ".mha"):
        for key, value in (metadata or {}).items():
            converted.SetMetaData(str(key), _header_text(value))
    with replacing(target, extension) as temporary:
        SimpleITK.WriteImage(converted, str(temporary), compress, COMPRESSION_LEVEL)
    return target


def _header_text(value: Any) -> str:
    """A value on one line: text as it is, tables and lists as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return " ".join(text.split())


def output_extension(path: Path, allowed: tuple[str, ...] = EXTENSIONS) -> str:
    """The extension of an output file; raises InputError when it is none of ``allowed``."""
    name = path.name.lower()
    for extension in sorted(allowed, key=len, reverse=True):
        if name.endswith(extension) and len(name) > len(extension):
            return extension
    raise InputError(
        f"'{path}' has no extension that can be written.", hint=f"Use one of {', '.join(allowed)}."
    )


@contextlib.contextmanager
def replacing(target: Path, extension: str = "") -> Iterator[Path]:
    """A temporary path in the folder of ``target`` that becomes ``target`` when the block ends without error.

    On any failure the temporary file is removed and an older ``target`` stays.  Raises InputError when the
    folder is missing or cannot be written.
    """
    check_output(target)
    temporary = target.with_name(f".{uuid.uuid4().hex}{extension or target.suffix}")
    try:
        yield temporary
        os.replace(temporary, target)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"'{target}' cannot be written: {getattr(error, 'strerror', None) or str(error).strip()}.",
            hint="Check free space and permissions of the folder.",
            detail=str(error),
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_output(target: Path) -> None:
    """Raise InputError unless a file can be put at ``target``; nothing is created."""
    folder = target.parent
    if not folder.is_dir():
        raise InputError(
            f"The folder '{folder}' of '{target.name}' does not exist.", hint="Create it or choose another."
        )
    if target.is_dir():
        raise InputError(f"'{target}' is a folder; a file name is expected.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"The folder '{folder}' cannot be written.", hint="Choose another folder.")
