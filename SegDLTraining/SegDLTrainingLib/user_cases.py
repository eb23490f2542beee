"""The source "manifest": the user's own cases, from a manifest or from a folder in a known layout."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from SegDLEngine.errors import InputError
from SegDLEngine.models.card import ModelCard
from SegDLEngine.preprocessing.registry import PreparedCase

from SegDLTrainingLib.data.cases import CaseEntry, CaseList, Problem
from SegDLTrainingLib.data.check import check_split
from SegDLTrainingLib.data.files import files_of
from SegDLTrainingLib.data.layouts import find_cases
from SegDLTrainingLib.data.loading import load_case
from SegDLTrainingLib.data.splits import METHODS, Split, Splits, read_splits
from SegDLTrainingLib.preparing import Job, digest
from SegDLTrainingLib.recipes import RESTORATION, Recipe

BLOCK = 1 << 20
TOLD = 5
HASH_LENGTH = 16


def user_cases(recipe: Recipe, part: str) -> list[Job]:
    """Jobs of one part of ``data.path``, split by ``data.splits`` (a file) or ``data.split`` (a method).

    They are in the order of their names.  Their folders in the cache are named by the content of their files,
    so a changed file is prepared again and a moved one is not.  Raises InputError that names the case which
    cannot be used.
    """
    found = found_cases(recipe)
    split = split_of(recipe, found.cases)
    refuse(check_split(split, found.cases))
    cases = sorted(split.of(found.cases, part), key=lambda case: case.name)
    if recipe.task == RESTORATION:
        cases = [replace(case, labels=None) for case in cases]
        return [case_job(case, recipe) for case in cases]
    unlabelled = [case.name for case in cases if case.labels is None]
    if part == "test":
        # Nothing is measured on a test case without labels, and nothing trained.
        cases = [case for case in cases if case.labels is not None]
    elif unlabelled:
        raise InputError(
            f"The {part} case '{unlabelled[0]}' has no labels.",
            hint="Segment it, or leave it out of the data.",
        )
    return [case_job(case, recipe) for case in cases]


def found_cases(recipe: Recipe) -> CaseList:
    """The cases of ``data.path``; raises InputError that names the case which cannot be used."""
    data = recipe["data"]
    if "path" not in data:
        raise InputError(
            f"The recipe '{recipe['id']}' trains on your cases.",
            hint="Name them with --data FOLDER or MANIFEST.",
        )
    found = find_cases(
        data["path"],
        ModelCard(recipe.card),
        layout=data.get("layout", "auto"),
        label_map=data.get("label_map"),
    )
    refuse(found.problems)
    return found


def refuse(problems: Sequence[Problem]) -> None:
    """Raise InputError that names the cases of all errors, the first few with the reason."""
    errors = [problem for problem in problems if problem.severity == "error"]
    if not errors:
        return
    texts = [f"{problem.case}: {problem.text}" if problem.case else problem.text for problem in errors]
    if len(texts) > TOLD:
        names = dict.fromkeys(problem.case for problem in errors[TOLD:] if problem.case)
        texts[TOLD:] = [f"And {', '.join(names)}."] if names else []
    hint = errors[0].hint if len(errors) == 1 else "segdl-train data check tells more."
    raise InputError(" ".join(texts), hint=hint, code="data")


def case_job(case: CaseEntry, recipe: Recipe) -> Job:
    """What prepares a case for the recipe's card; its labels, if it has any, are read too."""
    content = content_of(case)
    key = f"{digest(content)}-{digest(case.name)}"
    return Job(case.name, key, load, (case, recipe.card), case.patient, content)


def load(argument: tuple[CaseEntry, Mapping[str, Any]]) -> PreparedCase:
    """Images and labels of an entry, read and checked as for a clinical case."""
    entry, card = argument
    try:
        return load_case(entry, ModelCard(dict(card)))
    except InputError as error:
        raise InputError(f"Case '{entry.name}': {error.text}", hint=error.hint, code=error.code) from error


def split_of(recipe: Recipe, cases: Sequence[CaseEntry]) -> Split:
    """The division that the recipe trains on, by ``data.fold``."""
    return splits_of(recipe, cases)[recipe["data"].get("fold", 0)]


def splits_of(recipe: Recipe, cases: Sequence[CaseEntry]) -> Splits:
    """How ``data.splits`` or ``data.split`` divides the cases."""
    data = recipe["data"]
    if "splits" in data:
        return read_splits(data["splits"])
    options = dict(data.get("split", {"method": "hold-out"}))
    method = options.pop("method", None)
    if method not in METHODS:
        raise InputError(
            f"The recipe's data.split method '{method}' is unknown.", hint=f"Known: {', '.join(METHODS)}."
        )
    seed = options.pop("seed", recipe.seed)
    known = [name for name in inspect.signature(METHODS[method]).parameters if name not in ("cases", "seed")]
    strange = [name for name in options if name not in known]
    if strange:
        raise InputError(
            f"The recipe's data.split: the method '{method}' has no '{strange[0]}'.",
            hint=f'It has: {", ".join(known) or "nothing"}. "replace": true leaves out what is inherited.',
        )
    try:
        return METHODS[method](cases, seed, **options)
    except TypeError as error:
        raise InputError(f"The recipe's data.split: {error}.") from error


def content_of(case: CaseEntry) -> dict[str, str]:
    """SHA-256 of the case's files by input and "labels", and of how they are read, shortened."""
    paths = dict(case.inputs) if case.labels is None else {**case.inputs, "labels": case.labels}
    content = {name: _sha256(path, case.name) for name, path in sorted(paths.items())}
    how = [dict(case.label_map) if case.label_map else None, list(case.region) if case.region else None]
    return {**content, "label map or region": digest(how)}


def _sha256(path: str, case: str) -> str:
    """Of all files that decide about what is read, and of the chosen series or volume."""
    chosen = "" if Path(path).exists() else path.rpartition("#")[2]
    whole = hashlib.sha256(chosen.encode())
    try:
        for file in files_of(path) or [Path(path)]:
            with file.open("rb") as stream:
                while block := stream.read(BLOCK):
                    whole.update(block)
    except OSError as error:
        raise InputError(
            f"Case '{case}': {error.filename} cannot be read: {error.strerror}.",
            hint="Has the file been moved? Make the manifest again.",
        ) from error
    return whole.hexdigest()[:HASH_LENGTH]
