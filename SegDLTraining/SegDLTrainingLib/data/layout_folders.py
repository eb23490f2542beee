"""The plain layout: a folder for each patient, whose files are named like the inputs and the labels."""

from __future__ import annotations

from pathlib import Path

from SegDLEngine.models.card import ModelCard

from SegDLTrainingLib.data.cases import CaseEntry, Problem
from SegDLTrainingLib.data.names import (
    input_for,
    input_tag,
    is_image_file,
    is_mask,
    modality_tag,
    plainest,
    stem,
)


def is_folders(folder: Path) -> bool:
    return any(files for _, files in _folders(folder))


def folder_cases(folder: Path, card: ModelCard) -> tuple[list[CaseEntry], list[Problem]]:
    """One case for each subfolder with image files; of several that fit, the plainest name counts.

    A card with one input takes the only image of a folder, whatever its name.  Names that do not decide are
    problems of the case.
    """
    cases: list[CaseEntry] = []
    problems: list[Problem] = []
    for name, files in _folders(folder):
        masks = [file for file in files if is_mask(stem(file))]
        images = [file for file in files if file not in masks]
        inputs = {}
        for target in card.input_names:
            fitting = [file for file in images if input_for(card, stem(file)) == target]
            if not fitting and len(card.inputs) == len(images) == 1:
                fitting = images
            chosen = _only(name, f"the input '{target}'", plainest(fitting), problems)
            if chosen:
                inputs[target] = str(folder / name / chosen)
        tag = input_tag(card, card.reference)
        own = [file for file in masks if modality_tag(stem(file)) == tag]
        neutral = [file for file in masks if not modality_tag(stem(file))]
        labels = _only(name, "the labels", plainest(own or neutral or masks), problems)
        if inputs or labels:
            cases.append(
                CaseEntry(name, name, inputs, str(folder / name / labels) if labels else None)
            )  # fmt: skip
    return cases, problems


def _folders(folder: Path) -> list[tuple[str, list[str]]]:
    """Name and image files of each subfolder."""
    found = []
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and not entry.name.startswith("."):
            files = sorted(
                path.name for path in entry.iterdir() if path.is_file() and is_image_file(path.name)
            )
            if files:
                found.append((entry.name, files))
    return found


def _only(case: str, what: str, candidates: list[str], problems: list[Problem]) -> str:
    if len(candidates) > 1:
        problems.append(
            Problem(
                "error",
                "ambiguous",
                case,
                f"{', '.join(candidates)}: each could be {what}.",
                "Rename one of them, or write a manifest.",
            )
        )
        return ""
    return candidates[0] if candidates else ""
