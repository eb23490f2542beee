"""DICOM: a folder for each patient with series of images and a SEG or RTSTRUCT that refers to one of them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from SegDLEngine.errors import InputError
from SegDLEngine.images.dicom_files import Series, find_series, is_dicom
from SegDLEngine.models.card import ModelCard

from SegDLTrainingLib.data.cases import CaseEntry, Problem
from SegDLTrainingLib.data.names import input_for

if TYPE_CHECKING:
    from pydicom import Dataset

# How many files of a folder are looked at to find out whether it holds DICOM.
_LOOK_AT = 50


def is_dicom_tree(folder: Path) -> bool:
    """True if a subfolder has DICOM; files that cannot be read are told of when their case is read."""
    for path in (path for entry in _patients(folder) for path in _files(entry)[:_LOOK_AT]):
        with contextlib.suppress(InputError):
            if is_dicom(path):
                return True
    return False


def dicom_cases(folder: Path, card: ModelCard) -> tuple[list[CaseEntry], list[Problem]]:
    """One case for each subfolder, which is taken to be one patient; nothing of the patient is read.

    CT and PET are told by modality, MR sequences by description.  Of several series or label objects, those
    count that belong together: the labels that refer to the series of the reference input.
    """
    cases: list[CaseEntry] = []
    problems: list[Problem] = []
    for entry in _patients(folder):
        try:
            series, labels = _series_and_labels(entry)
        except InputError as error:
            cases.append(CaseEntry(entry.name, entry.name, {}))
            problems.append(Problem("error", error.code, entry.name, error.text, error.hint))
            continue
        if not series and not labels:
            continue
        by_input = {name: _fitting(series, card, name) for name in card.input_names}
        chosen_labels = _labels_for(by_input[card.reference], labels, entry.name, problems)
        inputs = {}
        for name, fitting in by_input.items():
            one = _one_series(fitting, chosen_labels, labels, entry.name, name, problems)
            if one is not None:
                inputs[name] = _path(one, entry)
        cases.append(CaseEntry(entry.name, entry.name, inputs, str(chosen_labels) if chosen_labels else None))
    return cases, problems


def _patients(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _files(folder: Path) -> list[Path]:
    return sorted(Path(root) / name for root, _, names in os.walk(folder) for name in names)


def _series_and_labels(folder: Path) -> tuple[list[Series], dict[Path, set[str]]]:
    """The series of a folder, and its label objects with the series that they refer to."""
    labels: dict[Path, set[str]] = {}

    def note(path: Path, header: Dataset) -> None:
        if str(header.get("Modality", "")) in ("SEG", "RTSTRUCT"):
            labels[path] = _references(path)

    series, _ = find_series(_files(folder), other=note)
    return list(series.values()), labels


def _references(path: Path) -> set[str]:
    import pydicom
    from SegDLEngine.images import dicom_seg, rtstruct

    tags = ["ReferencedFrameOfReferenceSequence", "ReferencedSeriesSequence"]
    data = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(tags), force=True)
    return rtstruct.referenced_series(data) | dicom_seg.referenced_series(data)


def _fitting(series: Iterable[Series], card: ModelCard, name: str) -> list[Series]:
    """The series that can be the input ``name``."""
    entry = next(entry for entry in card.inputs if entry["name"] == name)
    modality = {"PET": "PT", "MRI": "MR"}.get(entry["modality"], entry["modality"])
    same = [item for item in series if item.slices and item.header["Modality"] == modality]
    alike = sum(other["modality"] == entry["modality"] for other in card.inputs)
    if alike == 1:
        return same
    return [item for item in same if input_for(card, item.header["SeriesDescription"]) == name]


def _labels_for(
    reference: list[Series], labels: dict[Path, set[str]], case: str, problems: list[Problem]
) -> Path | None:
    """The label object that refers to a series of the reference input, else the only one."""
    uids = {item.uid for item in reference}
    candidates = [path for path, referred in labels.items() if referred & uids] or list(labels)
    if len(candidates) > 1:
        names = ", ".join(f"'{path}'" for path in candidates)
        problems.append(
            Problem("error", "ambiguous", case, f"{names}: each could be the labels.", "Write a manifest.")
        )
        return None
    chosen = candidates[0] if candidates else None
    if chosen and uids and labels[chosen] and not labels[chosen] & uids:
        text = f"'{chosen}' was drawn on another series than the reference input's; it is placed by position."
        problems.append(Problem("warning", "other-series", case, text, "Check that both are of one session."))
    return chosen


def _one_series(
    fitting: list[Series],
    chosen: Path | None,
    labels: dict[Path, set[str]],
    case: str,
    name: str,
    problems: list[Problem],
) -> Series | None:
    referred = labels[chosen] if chosen else set()
    candidates = [item for item in fitting if item.uid in referred] or fitting
    if len(candidates) > 1:
        offers = "; ".join(item.title for item in candidates[:6])
        text = f"{len(candidates)} series could be the input '{name}': {offers}."
        problems.append(Problem("error", "ambiguous", case, text, "Choose one in a manifest: folder#UID."))
        return None
    return candidates[0] if candidates else None


def _path(series: Series, patient: Path) -> str:
    folders = {item.path.parent for item in series.slices}
    return f"{folders.pop() if len(folders) == 1 else patient}#{series.uid}"
