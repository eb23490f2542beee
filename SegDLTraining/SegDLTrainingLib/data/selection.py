"""Which cases of the user's data a recipe trains on, and what tells one state of a case from another."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from SegDLEngine.errors import InputError
from SegDLEngine.models.card import ModelCard
from SegDLEngine.preprocessing.registry import PreparedCase

from SegDLTrainingLib.data.cases import CaseEntry, CaseList
from SegDLTrainingLib.data.check import check_split
from SegDLTrainingLib.data.layouts import find_cases
from SegDLTrainingLib.data.loading import load_case
from SegDLTrainingLib.data.splits import METHODS, Splits, read_splits

DEFAULT_SPLIT = {"method": "hold-out", "ratio": [4, 1], "seed": 0}


def select_cases(data: Mapping[str, Any], card: ModelCard) -> dict[str, list[CaseEntry]]:
    """Cases by part (training, validation, test), as the section ``data`` of a recipe asks for them.

    ``path``: a folder or manifest; ``layout`` ('auto'); ``label_map``; ``split``: a file of splits, or
    ``method``, ``seed`` and the options of a method (hold-out 4:1 by default); ``fold``: name or number of
    the split (the first by default).  Raises InputError, also where the search found a problem that prevents
    training or the split has a patient in two parts.
    """
    if not data.get("path"):
        raise InputError("The recipe does not say where the data are.", hint="Name the folder or manifest.")
    found = find_cases(data["path"], card, layout=data.get("layout", "auto"), label_map=data.get("label_map"))
    split = _splits(data.get("split", DEFAULT_SPLIT), found)[data.get("fold", 0)]
    problems = [*found.problems, *check_split(split, found.cases)]
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        where = f"Case '{errors[0].case}': " if errors[0].case else ""
        raise InputError(f"{where}{errors[0].text}", hint=errors[0].hint, code=errors[0].code)
    return {part: split.of(found.cases, part) for part in split.parts()}


def load_entry(argument: tuple[CaseEntry, Mapping[str, Any]]) -> PreparedCase:
    """``load_case`` of (entry, JSON object of a card), in one argument for another process."""
    entry, card = argument
    return load_case(entry, ModelCard(dict(card)))


def fingerprint(entry: CaseEntry) -> str:
    """A name for the entry and the present state of its files: another after any change to them.

    Files count by path, size and time of change, all files of a DICOM folder.
    """
    fields = {key: value for key, value in vars(entry).items() if key not in ("extra", "centre")}
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True, default=dict).encode())
    for path in [*entry.inputs.values(), *([entry.labels] if entry.labels else [])]:
        for file in _files(path):
            state = os.stat(file)
            digest.update(f"{file}\n{state.st_size}\n{state.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:20]


def _splits(wanted: Any, found: CaseList) -> Splits:
    if isinstance(wanted, str):
        return read_splits(wanted)
    options = dict(wanted)
    method, seed = options.pop("method", "hold-out"), int(options.pop("seed", 0))
    if method not in METHODS:
        raise InputError(f"There is no split '{method}'.", hint=f"Methods: {', '.join(METHODS)}.")
    try:
        return METHODS[method](found.cases, seed, **options)
    except TypeError as error:
        raise InputError(f"The split '{method}' does not take these options: {error}.") from error


def _files(path: str) -> list[Path]:
    """The file itself, or the files of a folder; raises InputError if there is none."""
    from SegDLEngine.images.dicom_files import files_below
    from SegDLEngine.images.reading import split_series

    source, _ = split_series(path)
    return files_below(source) if source.is_dir() else [source]
