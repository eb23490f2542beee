"""Reading tables that people write, by hand or in a spreadsheet."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from SegDLEngine.errors import InputError


@dataclass(frozen=True)
class Table:
    """``columns`` by name, and ``rows``: the line's number in the file and its cells by column."""

    columns: list[str]
    rows: list[tuple[int, dict[str, str]]]


def read_text(path: Path, what: str) -> str:
    """The text of a UTF-8 file, called ``what`` in the InputError where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"The {what} '{path}' cannot be read: {error}.",
            hint="Save it as UTF-8; a spreadsheet calls this 'CSV UTF-8'.",
        ) from error


def parse_table(text: str, path: Path, what: str) -> Table:
    """The CSV ``text`` of a file, separated by comma, semicolon or tab; cells lose the blanks round them.

    Rows without any text, and columns without a name behind the last, are left out.  Raises InputError for a
    column that is there twice and for cells beyond the columns.
    """
    lines = text.splitlines()
    # Spreadsheets may say their delimiter in a line of its own.
    if lines and lines[0].strip('"').startswith("sep="):
        lines[0] = ""
    heading = next((line for line in lines if line.strip()), "")
    reader = csv.reader(lines, delimiter=max(",;\t", key=heading.count), skipinitialspace=True)
    filled = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    columns = filled.pop(0)[1] if filled else []
    while columns and not columns[-1]:
        columns.pop()
    for name in columns:
        if name and columns.count(name) > 1:
            raise InputError(f"The {what} '{path}' has the column '{name}' twice.")
    rows = []
    for number, cells in filled:
        if any(cells[len(columns) :]):
            raise InputError(f"Row {number} of '{path}' has more cells than there are columns.")
        cells += [""] * (len(columns) - len(cells))
        rows.append((number, dict(zip(columns, cells, strict=False))))
    return Table(columns, rows)


def read_table(path: Path, what: str) -> Table:
    """The table in a CSV file, see ``read_text`` and ``parse_table``."""
    return parse_table(read_text(path, what), path, what)
