"""Unlabelled cases with the coarse segmentation of a given model in place of labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from SegDLEngine.errors import InputError
from SegDLEngine.images.image import Image
from SegDLEngine.models.card import ModelCard
from SegDLEngine.models.catalogue import load_model
from SegDLEngine.options import SegmentOptions
from SegDLEngine.pipeline import segment
from SegDLEngine.preprocessing.registry import PreparedCase

from SegDLTrainingLib.data.layouts import find_cases
from SegDLTrainingLib.preparing import Job, digest
from SegDLTrainingLib.recipes import Recipe
from SegDLTrainingLib.semi_supervised.boxes import largest_components
from SegDLTrainingLib.semi_supervised.settings import SemiSupervisedSettings
from SegDLTrainingLib.sources import GENERATORS, generated
from SegDLTrainingLib.user_cases import case_job


@dataclass(frozen=True)
class CoarseCase:
    """``make(argument)`` gives the case, ``model`` its coarse segmentation; ``value`` is the card's label."""

    name: str
    make: Callable[[Any], PreparedCase]
    argument: Any
    model: str
    device: str
    components: int
    minimum_voxels: int
    value: int


def unlabelled_jobs(
    recipe: Recipe, source: str | Path | None, layout: str, model: str, device: str,
    settings: SemiSupervisedSettings,
) -> list[Job]:  # fmt: skip
    """Jobs for the cases of a folder or manifest, or for those that the recipe's ``data.unlabelled`` makes.

    Labels that such a case may have are not looked at.  Raises InputError when there are none.
    """
    if source is not None:
        found = find_cases(source, ModelCard(recipe.card), layout=layout)
        plain = [case_job(replace(case, labels=None), recipe) for case in found.cases]
    elif "unlabelled" in recipe["data"] and recipe["data"]["source"] in GENERATORS:
        plain = generated(recipe, "unlabelled")
    else:
        raise InputError(
            "Semi-supervised training needs unlabelled cases.",
            hint="Name them with --unlabelled FOLDER or MANIFEST.",
        )
    sha256, value = load_model(model).sha256, int(recipe.card["labels"][0]["value"])
    jobs = []
    for job in plain:
        case = CoarseCase(
            job.name, job.make, job.argument, model, device, settings.components, settings.minimum_voxels,
            value,
        )  # fmt: skip
        key = digest([job.key, sha256, settings.components, settings.minimum_voxels])
        jobs.append(Job(job.name, f"coarse-{key}", segment_coarsely, case, job.patient))
    return jobs


def segment_coarsely(wanted: CoarseCase) -> PreparedCase:
    """The case with the largest components of its coarse segmentation, any label, as labels."""
    case = wanted.make(wanted.argument)
    options = SegmentOptions(samples=0, device=wanted.device)
    try:
        found = segment(case.images, wanted.model, options).labels
    except InputError as error:
        raise InputError(
            f"The coarse model cannot segment '{wanted.name}': {error.text}", hint=error.hint
        ) from error
    mask = largest_components(found.array > 0, wanted.components, wanted.minimum_voxels)
    return replace(case, labels=Image(mask.astype(np.uint8) * np.uint8(wanted.value), found.grid))
