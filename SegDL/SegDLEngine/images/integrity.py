"""Is an image file whole?  SimpleITK reads cut-off NIfTI and damaged gzip data without a word.

Compares what the header promises with what the file holds, for NIfTI, NRRD and MetaImage with the voxels in
the same file.  Compressed data are decompressed once in pieces (0.4 s for 512x512x134), which also proves
their checksum.  Files with detached voxels are left to SimpleITK.  SimpleITK also reads NaN and infinity in
NIfTI as 0, so they are looked for here.
"""

from __future__ import annotations

import itertools
import math
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from SegDLEngine.errors import InputError

PIECE = 1 << 20
HEADER_LIMIT = 1 << 20
GZIP_OR_ZLIB = 47
EMPTY = -1

_NRRD_BYTES = {
    **dict.fromkeys(("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"), 1),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), 2),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), 2),
    **dict.fromkeys(
        ("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t"), 4
    ),
    **dict.fromkeys(("longlong", "long long", "int64", "int64_t", "ulonglong", "uint64", "uint64_t"), 8),
    **dict.fromkeys(("float",), 4),
    **dict.fromkeys(("double",), 8),
}
_META_BYTES = {
    "MET_CHAR": 1,
    "MET_UCHAR": 1,
    "MET_SHORT": 2,
    "MET_USHORT": 2,
    "MET_INT": 4,
    "MET_UINT": 4,
    "MET_LONG_LONG": 8,
    "MET_ULONG_LONG": 8,
    "MET_FLOAT": 4,
    "MET_DOUBLE": 8,
}


def check_complete(path: Path, kind: str) -> None:
    """Raise InputError unless the file is a whole one of ``kind`` 'nrrd', 'nifti' or 'metaimage'."""
    try:
        with path.open("rb") as stream:
            {"nrrd": _check_nrrd, "nifti": _check_nifti, "metaimage": _check_metaimage}[kind](path, stream)
    except OSError as error:
        raise InputError(f"'{path}' cannot be read: {error.strerror or error}.") from error
    except zlib.error as error:
        raise InputError(
            f"'{path}' is damaged: its compressed data cannot be decompressed.",
            hint="Copy or export the file again.",
            detail=str(error),
        ) from error


def _check_nifti(path: Path, stream: BinaryIO) -> None:
    compressed = stream.read(2) == b"\x1f\x8b"
    stream.seek(0)
    pieces = _inflate(path, stream) if compressed else _read(stream)
    head = bytearray()
    for piece in pieces:
        head += piece
        if len(head) >= 540:
            break
    expected = _nifti_bytes(bytes(head))
    if expected is None:
        raise _not_a(path, "NIfTI")
    if expected == 0:
        return
    kind, offset = _nifti_floats(bytes(head))
    found, bad = _measured(itertools.chain([bytes(head)], pieces), kind, offset, expected)
    _compare(path, expected, found)
    if bad:
        raise InputError(
            f"'{path}' has {bad} of {(expected - offset) // kind.itemsize} values that are not finite "
            "(NaN or infinity).",
            hint="Replace them, for CT by -1000 HU, and try again.",
            code="not-finite",
        )


def _nifti_bytes(head: bytes) -> int | None:
    """Bytes the whole file must have; 0 if the voxels lie elsewhere, EMPTY, or None if it is no NIfTI."""
    for order in "<>":
        if len(head) >= 348 and struct.unpack_from(order + "i", head)[0] == 348:
            if head[344:347] != b"n+1":
                return 0
            sizes = struct.unpack_from(order + "8h", head, 40)
            bits = struct.unpack_from(order + "h", head, 72)[0]
            offset = struct.unpack_from(order + "f", head, 108)[0]
        elif len(head) >= 540 and struct.unpack_from(order + "i", head)[0] == 540:
            bits = struct.unpack_from(order + "h", head, 14)[0]
            sizes = struct.unpack_from(order + "8q", head, 16)
            offset = struct.unpack_from(order + "q", head, 168)[0]
        else:
            continue
        count = math.prod(max(size, 0) for size in sizes[1 : 1 + max(sizes[0], 0)])
        return int(offset) + math.ceil(count * bits / 8) if count else EMPTY
    return None


def _nifti_floats(head: bytes) -> tuple[np.dtype[Any], int]:
    """Type of the voxels if they are floats, else bytes, and where they begin."""
    for order in "<>":
        size = struct.unpack_from(order + "i", head)[0]
        if size in (348, 540):
            code = struct.unpack_from(order + "h", head, 70 if size == 348 else 12)[0]
            offset = struct.unpack_from(
                *((order + "f", head, 108) if size == 348 else (order + "q", head, 168))
            )
            return np.dtype({16: order + "f4", 64: order + "f8"}.get(code, "u1")), int(offset[0])
    return np.dtype("u1"), 0


def _measured(pieces: Iterable[bytes], kind: np.dtype[Any], offset: int, expected: int) -> tuple[int, int]:
    """Bytes in all, and how many of the floats from ``offset`` on, up to ``expected``, are not finite."""
    found = bad = 0
    rest = b""
    for piece in pieces:
        if kind.kind == "f":
            rest += piece[max(offset - found, 0) : max(expected - found, 0)]
            whole = len(rest) // kind.itemsize * kind.itemsize
            bad += int(np.count_nonzero(~np.isfinite(np.frombuffer(rest[:whole], kind))))
            rest = rest[whole:]
        found += len(piece)
    return found, bad


def _check_nrrd(path: Path, stream: BinaryIO) -> None:
    if not stream.readline(64).startswith(b"NRRD000"):
        raise _not_a(path, "NRRD")
    fields = {}
    for line in _header_lines(path, stream, "NRRD"):
        if not line.strip():
            break
        key, colon, value = line.partition(":")
        if colon and not value.startswith("="):
            fields[key.strip().lower()] = value.strip()
    else:
        raise _cut_off(path, "its header has no end")
    detached = {"data file", "datafile", "line skip", "lineskip", "byte skip", "byteskip"} & set(fields)
    width = _NRRD_BYTES.get(fields.get("type", "").lower())
    encoding = fields.get("encoding", "").lower()
    if detached or width is None or encoding not in ("raw", "gzip", "gz"):
        return
    expected = math.prod(_numbers(path, fields.get("sizes", ""))) * width
    pieces = _read(stream) if encoding == "raw" else _inflate(path, stream)
    _compare(path, expected, sum(map(len, pieces)))


def _check_metaimage(path: Path, stream: BinaryIO) -> None:
    fields: dict[str, str] = {}
    for line in _header_lines(path, stream, "MetaImage"):
        key, equals, value = line.partition("=")
        if not equals:
            raise _not_a(path, "MetaImage")
        fields[key.strip()] = value.strip()
        if key.strip() == "ElementDataFile":
            break
    else:
        raise _not_a(path, "MetaImage")
    width = _META_BYTES.get(fields.get("ElementType", ""))
    if fields["ElementDataFile"].upper() != "LOCAL" or width is None or "HeaderSize" in fields:
        return
    channels = int(fields.get("ElementNumberOfChannels", "1"))
    expected = math.prod(_numbers(path, fields.get("DimSize", ""))) * width * channels
    compressed = fields.get("CompressedData", "False").lower() == "true"
    pieces = _inflate(path, stream) if compressed else _read(stream)
    _compare(path, expected, sum(map(len, pieces)))


def _header_lines(path: Path, stream: BinaryIO, form: str) -> Iterator[str]:
    read = 0
    while line := stream.readline(HEADER_LIMIT):
        read += len(line)
        if read > HEADER_LIMIT:
            raise _not_a(path, form)
        yield line.decode("utf-8", "replace").rstrip("\r\n")


def _numbers(path: Path, text: str) -> list[int]:
    try:
        return [int(word) for word in text.split()]
    except ValueError:
        raise InputError(f"'{path}' is damaged: its size '{text}' is not a list of whole numbers.") from None


def _read(stream: BinaryIO) -> Iterator[bytes]:
    while piece := stream.read(PIECE):
        yield piece


def _inflate(path: Path, stream: BinaryIO) -> Iterator[bytes]:
    """The decompressed pieces of the rest of the stream, which may have several gzip members."""
    inflater = zlib.decompressobj(GZIP_OR_ZLIB)
    waiting = b""
    members = 0
    while piece := waiting or stream.read(PIECE):
        if inflater.eof:
            if not piece.startswith(b"\x1f\x8b"):
                return
            inflater = zlib.decompressobj(GZIP_OR_ZLIB)
        yield inflater.decompress(piece)
        waiting = inflater.unused_data
        members += inflater.eof
    if not members or not inflater.eof:
        raise _cut_off(path, "its compressed data have no end")


def _compare(path: Path, expected: int, found: int) -> None:
    if expected <= 0:
        raise InputError(f"'{path}' is empty: its header promises no voxels.")
    if found < expected:
        raise _cut_off(path, f"the header promises {expected} bytes, {found} are there")


def _cut_off(path: Path, reason: str) -> InputError:
    return InputError(f"'{path}' is cut off: {reason}.", hint="Copy or export the file again.")


def _not_a(path: Path, form: str) -> InputError:
    return InputError(
        f"'{path}' is not a {form} file, although its name says so.", hint="Export the image again."
    )
