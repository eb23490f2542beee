"""HECKTOR: head-and-neck PET/CT of 2020 to 2025, with the bounding boxes of 2020 and 2021."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator
from pathlib import Path

from SegDLEngine.errors import InputError
from SegDLEngine.models.card import ModelCard

from SegDLTrainingLib.data.cases import CaseEntry, Problem
from SegDLTrainingLib.data.names import input_for

_FILE = re.compile(
    r"(?P<id>(?P<centre>[A-Za-z]+)[-_]?\d+)(?:_{1,2}(?P<what>ct|pt|gtvt|gtv))?\.nii(\.gz)?$", re.IGNORECASE
)


def is_hecktor(folder: Path) -> bool:
    return any({"ct", "pt"} <= set(files) for _, _, files in _patients(folder))


def hecktor_cases(folder: Path, card: ModelCard) -> tuple[list[CaseEntry], list[Problem]]:
    """Cases by patient; the letters of the identifier are the centre.

    Labels: ``ID_gtvt`` (2020, 2021), ``labelsTr/ID`` (2022) or ``ID`` beside the images (2025).  Where the
    card has no label 2, the lymph nodes (2) of 2022 and later count as background.  A table with bbox in its
    name and columns PatientID, x1, x2, y1, y2, z1, z2 (mm, LPS) gives the region.
    """
    boxes = _boxes(folder)
    nodes = any(int(label["value"]) == 2 for label in card.labels)
    label_map = None if nodes else {"1": int(card.labels[0]["value"]), "2": 0}
    cases = []
    problems = []
    for name, centre, copies in _patients(folder):
        files = {what: paths[0] for what, paths in copies.items()}
        for paths in copies.values():
            if len(paths) > 1:
                text = f"Several files are one: {', '.join(str(path) for path in paths)}."
                hint = "Give the folder of one of them, or write a manifest."
                problems.append(Problem("error", "ambiguous", name, text, hint))
        inputs = {}
        for what in ("ct", "pt"):
            target = input_for(card, what)
            if what in files and target is not None:
                inputs[target] = str(files[what])
        labels = files.get("labels")
        cases.append(
            CaseEntry(
                name,
                name,
                inputs,
                str(labels) if labels else None,
                centre=centre,
                label_map=label_map,
                region=boxes.get(name.upper()),
            )
        )
    known = {case.name.upper() for case in cases}
    problems += [
        Problem("warning", "bounding-box", name, f"The table of boxes has '{name}', which has no images.")
        for name in sorted(set(boxes) - known)
    ]
    return cases, problems


def _patients(folder: Path) -> Iterator[tuple[str, str, dict[str, list[Path]]]]:
    """Identifier, centre and files of every patient that has an image."""
    found: dict[str, dict[str, list[Path]]] = {}
    names: dict[str, tuple[str, str]] = {}
    for root, below, entries in os.walk(folder):
        below.sort()
        for entry in sorted(entries):
            match = _FILE.match(entry)
            if match is None or entry.startswith("."):
                continue
            # 2022 writes CHUM-001__CT and, for some labels, CHUM_001.
            key = match["id"].upper().replace("_", "-")
            what = (match["what"] or "labels").lower()
            kind = "labels" if what.startswith("gtv") else what
            found.setdefault(key, {}).setdefault(kind, []).append(Path(root) / entry)
            if what in ("ct", "pt"):
                names.setdefault(key, (match["id"], match["centre"].upper()))
    for key in sorted(names):
        yield *names[key], found[key]


def _boxes(folder: Path) -> dict[str, tuple[float, ...]]:
    """Region (RAS) by upper-case patient of all tables of bounding boxes in the folder."""
    found: dict[str, tuple[float, ...]] = {}
    for path in sorted([*folder.glob("*bbox*.csv"), *folder.glob("*/*bbox*.csv")]):
        with path.open(encoding="utf-8-sig", newline="") as stream:
            for number, row in enumerate(csv.DictReader(stream), start=2):
                try:
                    x1, x2, y1, y2, z1, z2 = (float(row[key]) for key in ("x1", "x2", "y1", "y2", "z1", "z2"))
                    name = row["PatientID"].strip().upper()
                except (KeyError, TypeError, ValueError) as error:
                    raise InputError(
                        f"Row {number} of '{path}' is no bounding box.",
                        hint="The columns are PatientID, x1, x2, y1, y2, z1, z2 in mm.",
                    ) from error
                found[name] = (-x2, -x1, -y2, -y1, z1, z2)
    return found
