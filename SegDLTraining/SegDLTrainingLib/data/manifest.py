"""Tables of cases: CSV for people and spreadsheets, JSON for programs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from SegDLEngine.errors import InputError
from SegDLEngine.images.writing import replacing
from SegDLEngine.models.card import ModelCard
from SegDLEngine.tables import parse_table, read_text

from SegDLTrainingLib.data.cases import CaseEntry, CaseList

SCHEMA_NAME = "segdl-cases-1"
_CSV_NAMES = {"case": "name", "name": "name", "patient": "patient", "centre": "centre", "center": "centre",
              "group": "centre", "labels": "labels", "reference": "labels"}  # fmt: skip
_JSON_KEYS = {"name", "patient", "centre", "inputs", "labels", "label_map", "region", "extra"}


def read_manifest(path: str | Path, card: ModelCard) -> CaseList:
    """The cases of a .csv or .json table; relative paths start at its folder.

    CSV (comma, semicolon or tab): a column ``case``, one for each input of the card, ``labels``, and
    optionally ``patient`` and ``centre``; a case without patient is a patient of its own.  JSON: ``schema``
    'segdl-cases-1', ``cases`` with the fields of ``CaseEntry``, and a ``label_map`` for all of them.
    Raises InputError that names the row and the field.
    """
    path = Path(path)
    text = read_text(path, "manifest")
    rows = _json_rows(path, text) if path.suffix.lower() == ".json" else _csv_rows(path, text, card)
    cases = [_entry(path, where, row, card) for where, row in rows]
    if not cases:
        raise InputError(f"The manifest '{path}' has no cases.")
    seen: dict[str, str] = {}
    for case, (where, _) in zip(cases, rows, strict=True):
        if case.name in seen:
            raise InputError(f"{where} of '{path}': the name '{case.name}' is that of {seen[case.name]} too.")
        seen[case.name] = where
    return CaseList("manifest", sorted(cases, key=lambda case: case.name))


def write_manifest(cases: CaseList, path: str | Path) -> Path:
    """Write the cases as JSON, with paths relative to the folder of ``path`` where they lie below it.

    Relative paths have slashes, so that folder and manifest can be taken to another system.
    """
    target = Path(path)
    rows = []
    for case in cases.cases:
        row = {key: value for key, value in vars(case).items() if value not in (None, "", {})}
        row["inputs"] = {name: _relative(value, target.parent) for name, value in case.inputs.items()}
        if case.labels:
            row["labels"] = _relative(case.labels, target.parent)
        rows.append(row)
    with replacing(target, ".json") as temporary:
        document = {"schema": SCHEMA_NAME, "cases": rows}
        temporary.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return target


def _relative(value: str, folder: Path) -> str:
    absolute, base = os.path.abspath(os.path.expanduser(value)), os.path.abspath(folder)
    below = absolute.startswith(base + os.sep)
    return os.path.relpath(absolute, base).replace(os.sep, "/") if below else absolute


def _csv_rows(path: Path, text: str, card: ModelCard) -> list[tuple[str, dict[str, Any]]]:
    table = parse_table(text, path, "manifest")
    columns = _columns(path, table.columns, card)
    found = []
    for number, cells in table.rows:
        row: dict[str, Any] = {"inputs": {}}
        for column, value in zip(columns, cells.values(), strict=True):
            if value and column in card.input_names:
                row["inputs"][column] = value
            elif value:
                row[column] = value
        found.append((f"Row {number}", row))
    return found


def _columns(path: Path, heading: list[str], card: ModelCard) -> list[str]:
    """Inputs and fields by column."""
    known = [*_CSV_NAMES, *card.input_names]
    columns = [name if name in card.input_names else _CSV_NAMES.get(name.lower(), "") for name in heading]
    unknown = [name for name, column in zip(heading, columns, strict=True) if not column]
    if unknown:
        raise InputError(
            f"The manifest '{path}' has an unknown column '{unknown[0]}'.",
            hint=f"The columns are {', '.join(known)}.",
        )
    twice = [name for name, column in zip(heading, columns, strict=True) if columns.count(column) > 1]
    if twice:
        raise InputError(f"The manifest '{path}' has columns that say the same: {', '.join(twice)}.")
    return columns


def _json_rows(path: Path, text: str) -> list[tuple[str, dict[str, Any]]]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise InputError(f"The manifest '{path}' is not valid JSON: {error}.") from error
    if not isinstance(document, Mapping) or document.get("schema") != SCHEMA_NAME:
        raise InputError(f"'{path}' is no manifest: its 'schema' is not '{SCHEMA_NAME}'.")
    rows = document.get("cases")
    if not isinstance(rows, list):
        raise InputError(f"The manifest '{path}' has no list 'cases'.")
    shared = {"label_map": document["label_map"]} if "label_map" in document else {}
    found = []
    for number, row in enumerate(rows):
        where = f"cases[{number}]"
        if not isinstance(row, Mapping):
            raise InputError(f"{where} of '{path}' is no object.")
        unknown = sorted(set(row) - _JSON_KEYS)
        if unknown:
            raise InputError(
                f"{where} of '{path}' has an unknown field '{unknown[0]}'.",
                hint=f"The fields are {', '.join(sorted(_JSON_KEYS))}.",
            )
        found.append((where, {**shared, **row}))
    return found


def _entry(path: Path, where: str, row: Mapping[str, Any], card: ModelCard) -> CaseEntry:
    name = str(row.get("name", "")).strip()
    if not name:
        raise InputError(f"{where} of '{path}' has no name.", hint="Fill in the column 'case'.")
    inputs = row.get("inputs")
    if not isinstance(inputs, Mapping):
        raise InputError(f"{where} of '{path}': 'inputs' is no table of paths.")
    for key in inputs:
        if key not in card.input_names:
            raise InputError(
                f"{where} of '{path}': the model '{card.id}' has no input '{key}'.",
                hint=f"Its inputs: {', '.join(card.input_names)}.",
            )
    labels, region = row.get("labels"), row.get("region")
    return CaseEntry(
        name=name,
        patient=str(row.get("patient") or name),
        inputs={key: _path(path, where, value) for key, value in inputs.items() if value},
        labels=_path(path, where, labels) if labels else None,
        centre=str(row.get("centre") or ""),
        label_map=_label_map(path, where, row.get("label_map")),
        region=None if region is None else _region(path, where, region),
        extra=dict(row.get("extra") or {}),
    )


def _path(manifest: Path, where: str, value: Any) -> str:
    """An absolute path, or one from the manifest's folder on; those of Windows are understood elsewhere."""
    if not isinstance(value, str):
        raise InputError(f"{where} of '{manifest}': {json.dumps(value)} is no path.")
    path = manifest.parent / Path(value).expanduser()
    if "\\" in value and os.sep != "\\" and not path.exists():
        path = manifest.parent / Path(value.replace("\\", "/")).expanduser()
    return str(path)


def _label_map(path: Path, where: str, value: Any) -> dict[str, int] | None:
    if value is None:
        return None
    try:
        return {str(key): int(target) for key, target in dict(value).items()}
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{where} of '{path}': 'label_map' is no table of label values.",
            hint='As in {"GTV*": 1, "3": 0}.',
        ) from error


def _region(path: Path, where: str, value: Any) -> tuple[float, ...]:
    try:
        region = tuple(float(number) for number in value)
    except (TypeError, ValueError):
        region = ()
    if len(region) != 6 or any(low >= high for low, high in zip(region[::2], region[1::2], strict=True)):
        raise InputError(
            f"{where} of '{path}': 'region' is not r_min, r_max, a_min, a_max, s_min, s_max in mm."
        )
    return region
