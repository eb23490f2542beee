"""From a case to a prepared volume, by the card's own steps, kept on disk."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from SegDLEngine.errors import InputError, SegDLError
from SegDLEngine.images.image import Image
from SegDLEngine.inference.postprocessing import inside_mask
from SegDLEngine.models.card import ModelCard
from SegDLEngine.pipeline import View
from SegDLEngine.preprocessing.registry import PreparedCase, run_steps
from SegDLEngine.protocol import Reporter

from SegDLTrainingLib.cache import mark_used, remove_abandoned, remove_unfinished
from SegDLTrainingLib.in_processes import in_processes
from SegDLTrainingLib.volumes import PreparedVolume, StoredVolume, check_labels, store_volume

FORMAT = 1
# The preprocessing should keep so much of a case's labels.
LEAST_KEPT = 0.5


def prepare(case: PreparedCase, card: Mapping[str, Any], name: str, patient: str = "") -> PreparedVolume:
    """The case as the card's network sees it, with its labels on the same grid.

    Labels outside a mask that the card's postprocessing keeps to are never found and so do not count; the
    case's reporter hears of it if less than LEAST_KEPT is left.  Raises InputError for a label value that the
    card does not have, and for values that half precision does not hold.
    """
    before = _millilitres(case.labels)
    done = run_steps(case, card["preprocessing"])
    view = View.of(done, ModelCard(dict(card)))
    labels = done.labels or Image(np.zeros(view.grid.shape, np.uint8), view.grid)
    for entry in card["postprocessing"]:
        if entry["step"] == "inside_mask":
            labels = inside_mask(labels, done.masks, mask=entry["mask"])
    after = _millilitres(labels)
    if after < LEAST_KEPT * before:
        case.reporter.warning(
            "labels-lost", f"Of {before:.2f} ml of labels the preprocessing leaves {after:.2f} ml."
        )
    with np.errstate(over="ignore"):
        image = view.channels.astype(np.float16)
    for entry, channel, exact in zip(card["inputs"], image, view.channels, strict=True):
        if not np.isfinite(channel).all():
            raise InputError(
                f"Case '{name}': the values of '{entry['name']}' after the preprocessing go from "
                f"{exact.min():g} to {exact.max():g}; they must be numbers from -65504 to 65504.",
                hint="Give the card a step that scales them, such as zscore.",
            )
    spacing = (float(view.grid.spacing[0]), float(view.grid.spacing[1]), float(view.grid.spacing[2]))
    volume = PreparedVolume(image, labels.array.astype(np.uint8), spacing, name, patient or name)
    check_labels(volume, [label["value"] for label in card["labels"]])
    return volume


def _millilitres(labels: Image | None) -> float:
    return 0.0 if labels is None else np.count_nonzero(labels.array) * labels.grid.voxel_ml


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

    The folder depends on everything of the card that decides about the voxels.  The reporter hears what the
    preparation warns of, with the name of the case.
    """
    parts = [FORMAT, card["preprocessing"], card["inputs"], card["labels"], card["postprocessing"]]
    folder = cache / digest(parts)
    folder.mkdir(parents=True, exist_ok=True)
    remove_abandoned(folder)
    missing = [(job, card, folder / job.key) for job in jobs if not (folder / job.key).is_dir()]
    clean = functools.partial(remove_unfinished, folder)
    prepared = in_processes(_prepare_and_store, missing, workers, reporter.check, clean)
    with contextlib.closing(prepared):
        for done, warnings in enumerate(prepared, start=1):
            for code, text in warnings:
                reporter.warning(code, text)
            reporter.progress(stage, done / len(missing))
    volumes: list[PreparedVolume] = []
    for job in jobs:
        content = {**(job.content or {"content": job.key}), "preparation": folder.name}
        volumes.append(StoredVolume(folder / job.key, job.patient, content))
        mark_used(folder / job.key)
    return volumes


def _prepare_and_store(task: tuple[Job, Mapping[str, Any], Path]) -> list[tuple[str, str]]:
    """Code and text of what the preparation warns of; what reading warns of, the check has told."""
    job, card, folder = task
    case = job.make(job.argument)
    told = len(case.reporter.warnings)
    try:
        volume = prepare(case, card, job.name, job.patient)
    except SegDLError as error:
        if not error.text.startswith("Case "):
            error.text = f"Case '{job.name}': {error.text}"
        raise
    except MemoryError as error:
        raise SegDLError(
            f"Case '{job.name}': the memory does not suffice to prepare it.",
            hint="Try again with --workers 1.",
            code="memory",
        ) from error
    store_volume(volume, folder)
    return [(event["code"], f"{job.name}: {event['text']}") for event in case.reporter.warnings[told:]]


def digest(value: Any) -> str:
    """A short name for a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
