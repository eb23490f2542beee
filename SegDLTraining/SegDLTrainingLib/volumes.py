"""Prepared training cases: what the network sees and the labels to find, in memory or mapped from disk."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from SegDLEngine.errors import InputError, SegDLError

IMAGE_FILE, LABELS_FILE, FACTS_FILE = "image.npy", "labels.npy", "volume.json"
FILES_PER_VOLUME = 2
OTHER_FILES = 256


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


def check_labels(volume: PreparedVolume, values: Collection[int]) -> np.ndarray:
    """Voxel counts (256) of the label values; raises InputError for a value that is not among ``values``."""
    counts = np.bincount(volume.labels.reshape(-1), minlength=256)
    strange = sorted(set(np.flatnonzero(counts).tolist()) - {0, *values})
    if strange:
        raise InputError(
            f"Case '{volume.name}' has the label {strange[0]}, which the model card does not name.",
            hint=f"The card's labels: {', '.join(map(str, sorted(values)))}. Correct the labels or the card.",
        )
    return counts


def store_volume(volume: PreparedVolume, folder: Path) -> None:
    """Write the volume as ``folder``, which is either whole or not there; raises SegDLError."""
    partial = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        np.save(partial / IMAGE_FILE, volume.image)
        np.save(partial / LABELS_FILE, volume.labels)
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


def load_volume(folder: Path) -> PreparedVolume:
    """The volume of ``folder`` as memory maps; raises InputError that names what cannot be read."""
    try:
        facts = json.loads((folder / FACTS_FILE).read_text(encoding="utf-8"))
        image = np.load(folder / IMAGE_FILE, mmap_mode="r")
        labels = np.load(folder / LABELS_FILE, mmap_mode="r")
        return PreparedVolume(image, labels, tuple(facts["spacing"]), facts["name"], facts["patient"])
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"The prepared case {folder} cannot be read: {error}.",
            hint="Delete this folder; the case is prepared again.",
        ) from error


def load_volumes(folders: Iterable[Path]) -> list[PreparedVolume]:
    """All of them, mapped; each holds two open files, so the system's limit is raised if it must be."""
    chosen = list(folders)
    _allow_open_files(FILES_PER_VOLUME * len(chosen) + OTHER_FILES)
    return [load_volume(folder) for folder in chosen]


def _allow_open_files(count: int) -> None:
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = soft + count
    if soft != resource.RLIM_INFINITY and soft < count + OTHER_FILES:
        if hard != resource.RLIM_INFINITY:
            wanted = min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
