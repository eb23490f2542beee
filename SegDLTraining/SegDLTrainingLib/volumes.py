"""Prepared training cases: what the network sees and the labels to find, in memory or mapped from disk."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from SegDLEngine.errors import InputError, SegDLError

IMAGE_FILE, LABELS_FILE, FACTS_FILE = "image.npy", "labels.npy", "volume.json"
# A folder of this ending is still being written.
PARTIAL = ".partial"


@dataclass(frozen=True, eq=False)
class PreparedVolume:
    """``image`` float16 (C, k, j, i) as the network sees it; ``labels`` uint8 (k, j, i), values of the card.

    Either array may be a read-only memory map.  ``spacing`` (x, y, z) in mm; ``patient`` groups cases;
    ``content``: hashes of what the volume was made from, by what it is; empty for volumes made in memory.
    """

    image: np.ndarray
    labels: np.ndarray
    spacing: tuple[float, float, float]
    name: str = ""
    patient: str = ""
    content: Mapping[str, str] = field(default_factory=dict)

    @property
    def voxel_ml(self) -> float:
        return float(np.prod(self.spacing)) / 1000

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.labels.shape  # type: ignore[return-value]


class StoredVolume(PreparedVolume):
    """A volume in ``folder``.  Its arrays are mapped each time they are asked for, and let go after use.

    So neither memory nor open files grow with the number of cases.  Raises InputError for files that are not
    there or not whole, when it is made and when they are used.
    """

    _image: _Stored
    _labels: _Stored

    def __init__(self, folder: Path, patient: str = "", content: Mapping[str, str] | None = None):
        try:
            facts = json.loads((folder / FACTS_FILE).read_text(encoding="utf-8"))
            mine = {"spacing": tuple(facts["spacing"]), "name": facts["name"], "content": content or {},
                    "patient": patient or facts["patient"]}  # fmt: skip
        except (OSError, ValueError, KeyError) as error:
            raise _unreadable(folder, error) from error
        mine["_image"], mine["_labels"] = _Stored.of(folder / IMAGE_FILE), _Stored.of(folder / LABELS_FILE)
        for key, value in mine.items():
            object.__setattr__(self, key, value)

    @property
    def image(self) -> np.ndarray:  # type: ignore[override]
        return self._image.mapped()

    @property
    def labels(self) -> np.ndarray:  # type: ignore[override]
        return self._labels.mapped()

    @property
    def shape(self) -> tuple[int, int, int]:
        return self._labels.shape  # type: ignore[return-value]


@dataclass(frozen=True)
class _Stored:
    """An array in a file, and what must be known to map it."""

    path: Path
    dtype: np.dtype[Any]
    offset: int
    shape: tuple[int, ...]
    order: Literal["C", "F"]

    @classmethod
    def of(cls, path: Path) -> _Stored:
        try:
            whole = np.load(path, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise _unreadable(path.parent, error) from error
        order: Literal["C", "F"] = "C" if whole.flags.c_contiguous else "F"
        return cls(path, whole.dtype, whole.offset, whole.shape, order)

    def mapped(self) -> np.ndarray:
        try:
            return np.memmap(self.path, self.dtype, "r", self.offset, self.shape, self.order)
        except (OSError, ValueError) as error:
            raise _unreadable(self.path.parent, error) from error


def check_labels(volume: PreparedVolume, values: Collection[int]) -> np.ndarray:
    """Voxel counts (256) of the label values; raises InputError for a value that is not among ``values``."""
    counts = count_values(volume.labels)
    strange = sorted(set(np.flatnonzero(counts).tolist()) - {0, *values})
    if strange:
        raise InputError(
            f"Case '{volume.name}' has the label {strange[0]}, which the model card does not name.",
            hint=f"The card's labels: {', '.join(map(str, sorted(values)))}. Correct the labels or the card.",
        )
    return counts


def count_values(labels: np.ndarray) -> np.ndarray:
    """How many voxels (256,) of a uint8 array (k, j, i) have each value; slice by slice, to save memory."""
    counts = np.zeros(256, dtype=np.int64)
    for plane in labels:
        counts += np.bincount(plane.reshape(-1), minlength=256)
    return counts


def store_volume(volume: PreparedVolume, folder: Path) -> None:
    """Write the volume as ``folder``, which is either whole or not there; raises SegDLError."""
    partial = folder.with_name(f"{folder.name}.{os.getpid()}{PARTIAL}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        _save(partial / IMAGE_FILE, volume.image)
        _save(partial / LABELS_FILE, volume.labels)
        facts = {"spacing": list(volume.spacing), "name": volume.name, "patient": volume.patient}
        (partial / FACTS_FILE).write_text(json.dumps(facts) + "\n", encoding="utf-8")
        try:
            partial.rename(folder)
        except OSError:
            # Another process may have prepared the same case meanwhile.
            if not folder.is_dir():
                raise
    except OSError as error:
        raise SegDLError(
            f"The prepared case {folder} cannot be written: {error.strerror or error}.",
            hint="Free space there, or choose another folder with --cache.",
            code="disk",
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _save(path: Path, array: np.ndarray) -> None:
    """Until voxels are on the disk, a loss of power could leave a file of the right length without them."""
    with path.open("wb") as stream:
        np.save(stream, np.ascontiguousarray(array))
        stream.flush()
        os.fsync(stream.fileno())


def _unreadable(folder: Path, error: Exception) -> InputError:
    return InputError(
        f"The prepared case {folder} cannot be read: {error}.",
        hint="Delete this folder; the case is prepared again.",
    )
