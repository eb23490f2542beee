"""``segdl-train analyse``: figures of a finished evaluation by group, or the mean mask of data sets."""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from SegDLEngine.errors import InputError
from SegDLEngine.protocol import Reporter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_subparsers(required=True, metavar="WHAT")

    strata = what.add_parser("strata", help="a figure of an evaluation by group of cases")
    strata.add_argument("table", type=Path, help="CSV of segdl evaluate, one row a case (and label)")
    strata.add_argument("--by", required=True, help="column to gather by, for example centre or location")
    strata.add_argument("--attributes", type=Path, help="CSV with a column 'case' and the property, if apart")
    strata.add_argument("--figure", default="dice", help="figure to gather")
    strata.add_argument("--label", type=int, help="only the rows of this label")
    strata.add_argument("--json", action="store_true")
    strata.set_defaults(analyse=_strata)

    masks = what.add_parser("masks", help="mean and standard deviation of the masks of data sets")
    masks.add_argument("parts", nargs="+", metavar="NAME=FOLDER", help="folders of labelmaps")
    masks.add_argument("--output", type=Path, required=True, help="folder for masks.npz and masks.png")
    masks.add_argument("--size", type=int, nargs=2, default=(64, 64), metavar=("I", "J"))
    masks.set_defaults(analyse=_masks)


def run(arguments: argparse.Namespace, reporter: Reporter) -> None:
    arguments.analyse(arguments, reporter)


def _strata(arguments: argparse.Namespace, reporter: Reporter) -> None:
    from SegDLTrainingLib.analysis.strata import size_group, stratify, thickness_group

    rows = _read(arguments.table)
    if arguments.label is not None:
        rows = [row for row in rows if row.get("label") == str(arguments.label)]
    if arguments.attributes:
        known = {row.get("case"): row for row in _read(arguments.attributes)}
        rows = [{**known.get(row.get("case"), {}), **row} for row in rows]
    groups = {"slice_thickness_mm": thickness_group, "diameter_mm": size_group}
    if arguments.by in groups:
        name = groups[arguments.by]
        rows = [{**row, arguments.by: name(_number(row, arguments.by))} for row in rows]
    if rows and arguments.figure not in rows[0]:
        raise InputError(
            f"{arguments.table} has no column '{arguments.figure}'.",
            hint=f"Its columns: {', '.join(rows[0])}.",
        )
    defined = [{**row, arguments.figure: _value(row[arguments.figure])} for row in rows]
    found = [stratum.row() for stratum in stratify(defined, arguments.by, arguments.figure)]
    reporter.emit("result", strata=found)
    if arguments.progress != "json":
        print(json.dumps(found, indent=1) if arguments.json else _table(found))


def _masks(arguments: argparse.Namespace, reporter: Reporter) -> None:
    import numpy as np

    from SegDLTrainingLib.analysis.masks import draw, mask_statistics

    parts = {}
    for number, entry in enumerate(arguments.parts):
        name, _, folder = entry.partition("=")
        if not folder:
            raise InputError(f"'{entry}' is not NAME=FOLDER.", hint="For example training=labelsTr")
        parts[name] = mask_statistics(_labelmaps(Path(folder)), arguments.size)
        reporter.progress("reading", (number + 1) / len(arguments.parts))
    arguments.output.mkdir(parents=True, exist_ok=True)
    numbers = arguments.output / "masks.npz"
    arrays = {
        f"{name}_{kind}": getattr(part, kind) for name, part in parts.items() for kind in ("mean", "std")
    }
    np.savez(numbers, **arrays)
    files = {"numbers": str(numbers)}
    try:
        draw(parts, arguments.output / "masks.png")
        files["picture"] = str(arguments.output / "masks.png")
    except InputError as error:
        reporter.warning("picture", str(error))
    reporter.emit("result", files=files, counts={name: part.count for name, part in parts.items()})


def _labelmaps(folder: Path) -> Iterator[Any]:
    from SegDLEngine.images.reading import read_labels
    from SegDLEngine.measurement.cohort import LABEL_EXTENSIONS

    if not folder.is_dir():
        raise InputError(f"The folder {folder} is not there.")
    for path in sorted(folder.iterdir()):
        if path.name.endswith(LABEL_EXTENSIONS):
            yield read_labels(path).array


def _read(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"The table {path} cannot be read: {error}.") from error


def _value(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def _number(row: dict[str, str], column: str) -> float:
    value = _value(row.get(column))
    if value is None:
        raise InputError(f"Case '{row.get('case', '?')}': '{column}' is not a number.")
    return value


def _table(rows: list[dict[str, Any]]) -> str:
    lines = [f"{'group':28}{'cases':>7}{'mean':>9}{'median':>9}{'IQR':>9}"]
    for row in rows:
        lines.append(
            f"{row['group']:28}{row['cases']:>7}{row['mean']:>9.4f}{row['median']:>9.4f}{row['iqr']:>9.4f}"
        )
    return "\n".join(lines)
