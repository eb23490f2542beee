"""The table of cases of a batch: a CSV with a column ``case``, one for each input, and ``reference``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SegDLEngine.errors import InputError
from SegDLEngine.tables import read_table

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True)
class Case:
    """A row: the case's name, its images by input name, and its reference segmentation if there is one."""

    name: str
    inputs: Mapping[str, str]
    reference: str | None = None


def read_cases(path: str | Path, inputs: Sequence[Mapping[str, Any]]) -> list[Case]:
    """The rows of a table, separated by comma, semicolon or tab; relative paths start at its folder.

    ``inputs`` are those of the model card.  Raises InputError that names the row and the column.
    """
    path = Path(path)
    table = read_table(path, "table of cases")
    _check_columns(path, table.columns, inputs)
    cases = [_case(path, number, cells, inputs) for number, cells in table.rows]
    if not cases:
        raise InputError(f"The table of cases '{path}' has no rows.", hint="Write one row for each case.")
    seen: set[str] = set()
    for case in cases:
        if case.name.lower() in seen:
            raise InputError(f"The table of cases '{path}' has case '{case.name}' twice.")
        seen.add(case.name.lower())
    return cases


def _check_columns(path: Path, columns: Sequence[str], inputs: Sequence[Mapping[str, Any]]) -> None:
    needed = ["case", *(entry["name"] for entry in inputs if entry["required"])]
    known = ["case", *(entry["name"] for entry in inputs), "reference"]
    hint = f"The columns are {', '.join(known)}."
    for name in needed:
        if name not in columns:
            raise InputError(f"The table of cases '{path}' has no column '{name}'.", hint=hint)
    for name in columns:
        if name not in known:
            raise InputError(f"The table of cases '{path}' has an unknown column '{name}'.", hint=hint)


def _case(path: Path, number: int, cells: Mapping[str, str], inputs: Sequence[Mapping[str, Any]]) -> Case:
    if not _NAME.fullmatch(cells["case"]):
        raise InputError(
            f"Row {number} of '{path}': '{cells['case']}' cannot name a case.",
            hint="Use letters, digits, '_', '.' and '-'; a folder gets this name.",
        )
    images = {}
    for entry in inputs:
        value = cells.get(entry["name"], "")
        if value:
            images[entry["name"]] = str(path.parent / Path(value).expanduser())
        elif entry["required"]:
            raise InputError(f"Row {number} of '{path}': column '{entry['name']}' is empty.")
    reference = cells.get("reference", "")
    return Case(cells["case"], images, str(path.parent / Path(reference).expanduser()) if reference else None)
