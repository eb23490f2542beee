"""Checking cases before training: what prevents it and what one should know, by the name of the case."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from SegDLEngine.errors import SegDLError
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.models.card import ModelCard
from SegDLEngine.protocol import Reporter

from SegDLTrainingLib.data.cases import CaseEntry, CaseList, Problem
from SegDLTrainingLib.data.loading import load_case
from SegDLTrainingLib.data.splits import Split, Splits
from SegDLTrainingLib.in_processes import in_processes
from SegDLTrainingLib.volumes import count_values

# Preprocessing steps after which all inputs are on one grid.
COMMON_GRID = {"canonical", "to_reference", "resample_in_plane", "resample_to_box", "resample", "resize",
               "resize_in_plane"}  # fmt: skip


@dataclass
class Report:
    """``rows``: name, patient, centre, size, spacing and millilitres of each label of the readable cases."""

    layout: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def errors(self) -> list[Problem]:
        return [problem for problem in self.problems if problem.severity == "error"]

    def data(self) -> dict[str, Any]:
        """The report as JSON has it."""
        return {
            "layout": self.layout,
            "cases": self.rows,
            "problems": [problem.row() for problem in self.problems],
            "usable": not self.errors,
        }


@dataclass(frozen=True)
class Examined:
    """What reading a case showed: its ``row``, None if it is unusable, and the key of each input's voxels."""

    problems: list[Problem]
    row: dict[str, Any] | None = None
    keys: dict[str, str] = field(default_factory=dict)


def check_cases(
    found: CaseList,
    card: ModelCard,
    splits: Splits | None = None,
    reporter: Reporter | None = None,
    workers: int = 1,
) -> Report:
    """Read every case as training does, in ``workers`` processes, and report what is wrong.

    Errors: images or labels that are missing or cannot be read, of another modality or unit than the card's,
    inputs that lie apart or, if the card does not resample them, on other grids, labels off their image,
    values that are no label, nothing but empty labels, a patient (or the same voxels) in two parts of a
    split.  Warnings: a case without any label voxel, a label that no case has, the same voxels or labels
    under two names, labels that are resampled.
    """
    reporter = reporter or Reporter()
    report = Report(found.layout, problems=list(found.problems))
    contents: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    told = {problem.case for problem in found.problems if problem.severity == "error"}
    cases = [case for case in found.cases if case.name not in told]
    results = in_processes(functools.partial(examine, card=card), cases, workers, reporter.check)
    with contextlib.closing(results):
        for number, (case, result) in enumerate(zip(cases, results, strict=True), start=1):
            reporter.progress("checking", number / len(cases))
            report.problems += result.problems
            if result.row is not None:
                report.rows.append(result.row)
                for name, key in result.keys.items():
                    contents[key][case.name].append(name)
    _check_labels(report, card)
    copies = []
    for places in contents.values():
        if len(places) > 1 or any(len(inputs) > 1 for inputs in places.values()):
            report.problems.append(_copy(places))
            copies.append(list(places))
    report.problems += _shared_labels(cases)
    for split in splits.splits if splits else []:
        report.problems += check_split(split, found.cases, copies)
    return report


def check_split(
    split: Split, cases: Sequence[CaseEntry], copies: Sequence[Sequence[str]] = ()
) -> list[Problem]:
    """What is wrong with a split: unknown cases, and patients or ``copies`` of one image in two parts."""
    patient_of = {case.name: case.patient for case in cases}
    problems = []
    parts_of: dict[str, set[str]] = defaultdict(set)
    patients: dict[str, set[str]] = defaultdict(set)
    for part, names in split.parts().items():
        for name in names:
            parts_of[name].add(part)
            if name in patient_of:
                patients[patient_of[name]].add(part)
            else:
                text = f"Split '{split.name}': the {part} case '{name}' is not among the data."
                problems.append(Problem("error", "split-case", name, text, "Make the split again."))
    for patient, parts in sorted(patients.items()):
        if len(parts) > 1:
            text = f"Split '{split.name}': patient '{patient}' is in {' and '.join(sorted(parts))}."
            problems.append(
                Problem("error", "split-patient", patient, text, "Make the split again by patient.")
            )
    for alike in copies:
        parts = set().union(*(parts_of[name] for name in alike))
        if len(parts) > 1:
            text = (
                f"Split '{split.name}': {', '.join(alike)} are copies but in {' and '.join(sorted(parts))}."
            )
            problems.append(Problem("error", "split-duplicate", alike[0], text, "Remove all but one."))
    left_out = sorted(set(patient_of) - set(parts_of))
    if left_out:
        text = f"Split '{split.name}' leaves out {len(left_out)} cases, '{left_out[0]}' the first."
        problems.append(Problem("warning", "split-left-out", "", text))
    return problems


def content_key(array: np.ndarray) -> str:
    """SHA-256 of size and values: the same for a scan in another format, type or geometry."""
    digest = hashlib.sha256(str(array.shape).encode())
    digest.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
    return digest.hexdigest()


def examine(case: CaseEntry, card: ModelCard) -> Examined:
    """Read one case and say what is wrong with it."""
    problems: list[Problem] = []

    def tell(severity: str, code: str, text: str, hint: str = "") -> None:
        problems.append(Problem(severity, code, case.name, text, hint))

    missing = [
        entry["name"] for entry in card.inputs if entry["required"] and entry["name"] not in case.inputs
    ]
    for name in missing:
        tell(
            "error", "missing-input", f"The input '{name}' is missing.", "Add the image, or remove the case."
        )
    if case.labels is None:
        tell(
            "error", "missing-labels", "The labels are missing.", "Add the segmentation, or remove the case."
        )
    if problems:
        return Examined(problems)
    reading = Reporter()
    try:
        prepared = load_case(case, card, reading)
    except SegDLError as error:
        tell("error", error.code, error.text, error.hint)
        return Examined(problems)
    except Exception as error:
        # Files of others fail in ways that nobody has foreseen; the other cases are examined all the same.
        tell("error", "unreadable", f"The case cannot be read: {type(error).__name__}: {error}.")
        return Examined(problems)
    for event in reading.warnings:
        tell("warning", event["code"], event["text"])
    for name, image in prepared.images.items():
        if _apart(image.grid, prepared.grid):
            text = f"'{name}' and '{card.reference}' lie apart: they have no point in common."
            tell("error", "apart", text, "Give images of one study.")
        elif not image.grid.matches(prepared.grid) and not _resampled(card):
            text = f"'{name}' is not on the grid of '{card.reference}', and '{card.id}' does not resample it."
            tell("error", "grids", text, "Resample it, or add the step 'to_reference' to the card.")
    assert prepared.labels is not None
    volumes = _volumes(prepared.labels, card)
    if not any(volumes.values()):
        tell("warning", "empty-labels", "The labels are empty.", "Right for a case without any finding.")
    row = {
        "name": case.name,
        "patient": case.patient,
        "centre": case.centre,
        "size": list(prepared.grid.size),
        "spacing": [round(length, 4) for length in prepared.grid.spacing],
        "labels_ml": volumes,
    }
    keys = {name: content_key(image.array) for name, image in prepared.images.items()}
    return Examined(problems, row, keys)


def _resampled(card: ModelCard) -> bool:
    """True if the card brings all inputs to one grid."""
    return any(entry["step"] in COMMON_GRID for entry in card.preprocessing)


def _copy(places: Mapping[str, Sequence[str]]) -> Problem:
    """Cases with the inputs that have the same voxels."""
    names = list(places)
    inputs = sorted({name for own in places.values() for name in own})
    if len(names) == 1:
        text = f"The inputs {', '.join(inputs)} have the same voxels."
        return Problem("warning", "duplicate", names[0], text, "Check that each is what its name says.")
    text = f"The same voxels of {', '.join(repr(name) for name in inputs)} are in {', '.join(names)}."
    return Problem("warning", "duplicate", names[0], text, "Remove all but one, or give them one patient.")


def _shared_labels(cases: Sequence[CaseEntry]) -> list[Problem]:
    """One file with the labels of several cases, which a line of a table that was copied brings about."""
    users: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        if case.labels is not None:
            users[os.path.realpath(case.labels)].append(case.name)
    return [
        Problem("warning", "duplicate", names[0], f"'{path}' has the labels of {', '.join(names)}.")
        for path, names in users.items()
        if len(names) > 1
    ]


def _check_labels(report: Report, card: ModelCard) -> None:
    if not report.rows:
        report.problems.append(Problem("error", "no-cases", "", "No case can be used for training."))
        return
    absent = [
        str(label["name"])
        for label in card.labels
        if not any(row["labels_ml"][label["name"]] for row in report.rows)
    ]
    if len(absent) == len(card.labels):
        report.problems.append(Problem("error", "empty-labels", "", "No case has any label voxel."))
    elif absent:
        text = f"No case has the labels {', '.join(absent)}."
        report.problems.append(Problem("warning", "absent-label", "", text))


def _volumes(labels: Image, card: ModelCard) -> dict[str, float]:
    """Millilitres by name of the label."""
    counts = count_values(labels.array)
    return {
        str(label["name"]): round(float(counts[int(label["value"])]) * labels.grid.voxel_ml, 3)
        for label in card.labels
    }


def _apart(one: Grid, other: Grid) -> bool:
    """True if the boxes along the patient's axes do not touch."""
    a, b = one.corners(), other.corners()
    return bool(np.any(a.max(axis=0) < b.min(axis=0)) or np.any(b.max(axis=0) < a.min(axis=0)))
