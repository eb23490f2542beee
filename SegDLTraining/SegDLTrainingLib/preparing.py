"""From a case to a prepared volume, by the card's own steps, kept on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from SegDLEngine.images.image import Image
from SegDLEngine.inference.postprocessing import inside_mask
from SegDLEngine.models.card import ModelCard
from SegDLEngine.pipeline import View
from SegDLEngine.preprocessing.registry import PreparedCase, run_steps
from SegDLEngine.protocol import Reporter

from SegDLTrainingLib.volumes import PreparedVolume, check_labels, load_volumes, store_volume

FORMAT = 1


def prepare(case: PreparedCase, card: Mapping[str, Any], name: str, patient: str = "") -> PreparedVolume:
    """The case as the card's network sees it, with its labels on the same grid.

    Labels outside a mask that the card's postprocessing keeps to are never found and so do not count.
    Raises InputError for a label value that the card does not have.
    """
    done = run_steps(case, card["preprocessing"])
    view = View.of(done, ModelCard(dict(card)))
    labels = done.labels or Image(np.zeros(view.grid.shape, np.uint8), view.grid)
    for entry in card["postprocessing"]:
        if entry["step"] == "inside_mask":
            labels = inside_mask(labels, done.masks, mask=entry["mask"])
    spacing = (float(view.grid.spacing[0]), float(view.grid.spacing[1]), float(view.grid.spacing[2]))
    volume = PreparedVolume(
        view.channels.astype(np.float16), labels.array.astype(np.uint8), spacing, name, patient or name
    )
    check_labels(volume, [label["value"] for label in card["labels"]])
    return volume


@dataclass(frozen=True)
class Job:
    """A case to prepare: ``make(argument)`` gives it; ``key`` names its folder in the cache.

    ``make`` and ``argument`` travel to other processes, so ``make`` is a function of a module.  ``content``:
    hashes of what the case is made from, by what it is; the key by default.
    """

    name: str
    key: str
    make: Callable[[Any], PreparedCase]
    argument: Any
    patient: str = ""
    content: Mapping[str, str] = field(default_factory=dict)


def prepare_all(
    jobs: Sequence[Job], card: Mapping[str, Any], cache: Path, workers: int, reporter: Reporter, stage: str
) -> list[PreparedVolume]:
    """The volumes of all jobs, mapped from below ``cache``; what is missing there is prepared first.

    The folder depends on everything of the card that decides about the voxels.
    """
    parts = [FORMAT, card["preprocessing"], card["inputs"], card["labels"], card["postprocessing"]]
    folder = cache / digest(parts)
    folder.mkdir(parents=True, exist_ok=True)
    missing = [(job, card, folder / job.key) for job in jobs if not (folder / job.key).is_dir()]
    if workers > 1 and len(missing) > 1:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for done, _ in enumerate(pool.map(_prepare_and_store, missing), start=1):
                reporter.progress(stage, done / len(missing))
    else:
        for done, task in enumerate(missing, start=1):
            _prepare_and_store(task)
            reporter.progress(stage, done / len(missing))
    volumes = load_volumes(folder / job.key for job in jobs)
    return [
        replace(volume, content={**(job.content or {"content": job.key}), "preparation": folder.name})
        for volume, job in zip(volumes, jobs, strict=True)
    ]


def _prepare_and_store(task: tuple[Job, Mapping[str, Any], Path]) -> None:
    job, card, folder = task
    store_volume(prepare(job.make(job.argument), card, job.name, job.patient), folder)


def digest(value: Any) -> str:
    """A short name for a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
