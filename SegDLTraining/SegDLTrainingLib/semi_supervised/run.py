"""A whole semi-supervised training: coarse boxes, pseudo-labels, student and teacher, package."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from SegDLEngine.errors import InputError
from SegDLEngine.models.catalogue import load_model
from SegDLEngine.networks.registry import build_network
from SegDLEngine.protocol import Reporter

from SegDLTrainingLib.checkpoint import load_checkpoint
from SegDLTrainingLib.fit import fit
from SegDLTrainingLib.identity import Identity
from SegDLTrainingLib.preparing import digest, prepare_all
from SegDLTrainingLib.recipes import Recipe
from SegDLTrainingLib.run import export
from SegDLTrainingLib.semi_supervised.coarse import unlabelled_jobs
from SegDLTrainingLib.semi_supervised.labelling import LABELS_FILE, PseudoLabelled, make_pseudo_labels
from SegDLTrainingLib.semi_supervised.settings import SemiSupervisedSettings
from SegDLTrainingLib.semi_supervised.task import SemiSupervised
from SegDLTrainingLib.start import Start
from SegDLTrainingLib.statistics import with_own_statistics
from SegDLTrainingLib.transfer import initial_weights
from SegDLTrainingLib.volumes import PreparedVolume
from SegDLTrainingLib.workplace import Workplace, workplace

STAGES = {"labelled cases": 0.1, "unlabelled cases": 0.15, "pseudo-labels": 0.05, "training": 0.7}


def train_semi_supervised(
    recipe: Recipe,
    output: str | Path,
    reporter: Reporter,
    *,
    coarse: str | Path,
    start_from: str | Path | None,
    unlabelled: str | Path | None = None,
    unlabelled_layout: str = "auto",
    **options: Any,
) -> dict[str, Any]:
    """Train after ``recipe`` and write the package of its teacher or student; other options as ``run.train``.

    ``start_from`` is the network A' of the report, which describes the patches and is then trained on;
    ``coarse`` the model (id or package) that finds where in the ``unlabelled`` cases lesions are.  The
    pseudo-labels and tables and picture of the similarities lie beside the checkpoint.
    """
    output, settings = Path(output), SemiSupervisedSettings.of(recipe.data.get("semi_supervised", {}))
    if start_from is None:
        raise InputError(
            "Semi-supervised training needs a trained network to begin with.",
            hint="Name its package, or weights as .safetensors, with --start-from.",
        )
    with workplace(output, reporter, **options) as place:
        first, started = Start.of(start_from), time.perf_counter()
        initial = initial_weights(recipe, first, place.reporter)
        cases = place.cases(recipe)
        initial = with_own_statistics(
            recipe, initial, cases["training"], place.machine.device, place.reporter
        )
        test = place.test_cases(recipe)
        place.reporter.stages(STAGES)
        model = load_model(coarse)
        jobs = unlabelled_jobs(
            recipe, unlabelled, unlabelled_layout, str(coarse), place.machine.device, settings
        )
        with place.first_alone():
            others = prepare_all(
                jobs, recipe.card, place.cache, place.workers, place.reporter, "unlabelled cases"
            )
        origin = {**first.origin, "coarse_model": model.sha256}
        identity = Identity.of(recipe, {**cases, "unlabelled": others}, origin=origin)
        with place.first_alone():
            material = _material(recipe, settings, initial, cases["training"], others, place, identity)
        result = fit(
            recipe, cases["training"], cases["validation"], place.folder, place.reporter, place.machine,
            initial, place.curves, functools.partial(SemiSupervised, material), identity,
        )  # fmt: skip
        if not place.machine.processes.first:
            return {}
        minutes = (time.perf_counter() - started) / 60
        facts = {
            "coarse_model": {"id": model.id, "sha256": model.sha256},
            "unlabelled_cases": len(others),
            "patches": len(material.cases),
            "pseudo_labelled": len(material.labels.queries),
            "result": settings.result,
        }
        return export(
            recipe, result, {**cases, "test": test}, output, place.machine, first, minutes,
            {"semi_supervised": facts},
        )  # fmt: skip


def _material(
    recipe: Recipe, settings: SemiSupervisedSettings, initial: Mapping[str, torch.Tensor],
    labelled: Sequence[PreparedVolume], unlabelled: Sequence[PreparedVolume], place: Workplace,
    identity: Identity,
) -> PseudoLabelled:  # fmt: skip
    """The pseudo-labels that lie in the training's folder, or new ones if no training has used them yet."""
    key, path = digest(identity.facts()), place.folder / LABELS_FILE
    place.folder.mkdir(parents=True, exist_ok=True)
    material = PseudoLabelled.read(path, key)
    if material is not None:
        return material
    load_checkpoint(place.folder, identity)
    network = build_network(recipe.card["network"]["name"], recipe.card["network"]["options"])
    network.load_state_dict(initial)
    material = make_pseudo_labels(
        network, labelled, unlabelled, settings, recipe.seed, place.machine.device, place.folder,
        place.reporter,
    )  # fmt: skip
    material.write(path, key)
    return material
