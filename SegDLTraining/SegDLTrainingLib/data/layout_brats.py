"""BraTS: patient folders with four MR sequences and a segmentation, of all years."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from SegDLEngine.models.card import ModelCard

from SegDLTrainingLib.data.cases import CaseEntry, Problem
from SegDLTrainingLib.data.names import input_for

_FILE = re.compile(
    r"(?P<case>.+?)[_-](?P<what>t1ce|t1|t2|flair|seg|t1n|t1c|t2w|t2f)\.nii(\.gz)?$", re.IGNORECASE
)
# From 2023 on the sequences are called so, and the enhancing tumour has the value 3 instead of 4.
_SINCE_2023 = {"t1n", "t1c", "t2w", "t2f"}


def is_brats(folder: Path) -> bool:
    known = {"t1", "t1ce", "t1n", "t1c", "flair", "t2f"}
    return any(len(known & set(files)) > 1 for _, files in _folders(folder))


def brats_cases(folder: Path, card: ModelCard) -> tuple[list[CaseEntry], list[Problem]]:
    """One case for each name with sequences, in folders of their own or in one, at any depth.

    The patient of 'BraTS-GLI-00012-001' is 'BraTS-GLI-00012': the last number counts the visits.  A card with
    a single label gets the whole tumour; one with the values 1, 2 and 4 gets 3 of 2023 as 4.  The value 4 of
    2024, a resection cavity, is no tumour and must be mapped by the user.
    """
    cases = []
    for name, files in _folders(folder):
        inputs = {}
        for what, path in sorted(files.items()):
            target = input_for(card, what)
            if target is not None:
                inputs[target] = str(path)
        modern = bool(_SINCE_2023 & set(files))
        labels = str(files["seg"]) if "seg" in files else None
        cases.append(CaseEntry(name, _patient(name), inputs, labels, label_map=_label_map(card, modern)))
    return cases, []


def _folders(folder: Path) -> Iterator[tuple[str, dict[str, Path]]]:
    for root, below, names in os.walk(folder):
        below.sort()
        cases: dict[str, dict[str, Path]] = {}
        for name in sorted(names):
            match = _FILE.match(name)
            if match and not name.startswith("."):
                cases.setdefault(match["case"], {})[match["what"].lower()] = Path(root) / name
        for case, files in cases.items():
            if set(files) - {"seg"}:
                yield case, files


def _patient(case: str) -> str:
    match = re.fullmatch(r"(BraTS-[A-Za-z]+-\d+)-\d+", case, re.IGNORECASE)
    return match[1] if match else case


def _label_map(card: ModelCard, modern: bool) -> dict[str, int] | None:
    values = {int(label["value"]) for label in card.labels}
    if len(values) == 1:
        whole = values.pop()
        return {str(value): whole for value in ((1, 2, 3) if modern else (1, 2, 3, 4))}
    if modern and values >= {1, 2, 4}:
        return {"1": 1, "2": 2, "3": 4}
    return None
