"""Training cases from generated thoraxes, prepared by the card's own steps and kept in a cache folder."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from SegDLEngine.images.cropping import crop
from SegDLEngine.images.image import Image
from SegDLEngine.preprocessing.registry import PreparedCase, run_steps
from SegDLEngine.protocol import Reporter

from SegDLTrainingLib.recipes import Recipe
from SegDLTrainingLib.synthesis.thorax import make_phantom


@dataclass(frozen=True)
class PreparedVolume:
    """``image`` float16 (k, j, i) as the network sees it; ``mask`` uint8, 1 = tumour inside the region."""

    image: np.ndarray
    mask: np.ndarray
    voxel_ml: float


def prepare_phantom(seed: int, data: dict[str, Any], steps: Sequence[dict[str, Any]]) -> PreparedVolume:
    """One generated thorax after the card's steps.

    Tumour outside the isolated region is not shown to the network and so does not count.
    """
    phantom = make_phantom(seed, data["spacing"], data["extent_mm"])
    case = PreparedCase({"CT": phantom.ct}, "CT", labels=phantom.labels)
    rng = np.random.default_rng([seed, 1])
    if rng.random() < data["cropped_share"]:
        case = _cropped(case, phantom.lungs, rng)
    case = run_steps(case, steps)
    region = case.masks["lungs"].array > 0
    mask = (case.labels.array > 0) & region if case.labels is not None else np.zeros_like(region)
    image = case.channels(["CT"])[0]
    return PreparedVolume(image.astype(np.float16), mask.astype(np.uint8), case.grid.voxel_ml)


def _cropped(case: PreparedCase, lungs: Image, rng: np.random.Generator) -> PreparedCase:
    """Only a box of 110 to 240 mm round a point of a tumour or lung, as archives of cropped scans have it."""
    labels = case.labels if case.labels is not None and case.labels.array.any() else lungs
    inside = np.argwhere(labels.array > 0)
    centre = inside[int(rng.integers(len(inside)))][::-1] + rng.normal(0, 6, 3)
    grid = case.grid
    extent = np.minimum(rng.uniform(110, 240, 3) / grid.spacing, grid.size).astype(int)
    start = np.clip(centre - extent / 2, 0, np.asarray(grid.size) - extent).astype(int).tolist()
    size = extent.tolist()
    images = {name: crop(image, start, size, 0) for name, image in case.images.items()}
    cropped = None if case.labels is None else crop(case.labels, start, size, 0)
    return replace(case, images=images, labels=cropped)


def phantom_volumes(
    recipe: Recipe, seeds: Sequence[int], cache: Path, workers: int, reporter: Reporter, stage: str
) -> list[PreparedVolume]:
    """The volumes of ``seeds``; generated ones are kept below ``cache`` by what they depend on."""
    data, steps = recipe["data"], recipe.card["preprocessing"]
    name = hashlib.sha256(json.dumps([{**data, "training": None, "validation": None}, steps]).encode())
    folder = cache / name.hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    missing = [seed for seed in seeds if not (folder / f"{seed}.npz").is_file()]
    jobs = [(seed, data, steps, folder) for seed in missing]
    if workers > 1 and len(jobs) > 1:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for done, _ in enumerate(pool.map(_store, jobs), start=1):
                reporter.progress(stage, done / len(jobs))
    else:
        for done, job in enumerate(jobs, start=1):
            _store(job)
            reporter.progress(stage, done / len(jobs))
    return [_load(folder / f"{seed}.npz") for seed in seeds]


def _store(job: tuple[int, dict[str, Any], Sequence[dict[str, Any]], Path]) -> None:
    seed, data, steps, folder = job
    volume = prepare_phantom(seed, data, steps)
    partial = folder / f"{seed}.{os.getpid()}.partial.npz"
    np.savez(partial, image=volume.image, mask=volume.mask, voxel_ml=volume.voxel_ml)
    os.replace(partial, folder / f"{seed}.npz")


def _load(path: Path) -> PreparedVolume:
    with np.load(path) as stored:
        return PreparedVolume(stored["image"], stored["mask"], float(stored["voxel_ml"]))
