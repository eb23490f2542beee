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
    strata.add_argument(
        "--by",
        required=True,
        help="property to gather by, a column of either table, for example centre, location, difficulty or "
        "modalities; slice_thickness_mm is divided at 2.5 mm, diameter_mm at the steps of the T stage",
    )
    strata.add_argument("--attributes", type=Path, help="CSV with a column 'case' and the property, if apart")
    strata.add_argument(
        "--references",
        type=Path,
        help="folder of the reference masks, or table of segdl evaluate --cases: slice_thickness_mm and "
        "diameter_mm (longest axial one of a lesion) are measured there",
    )
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
    from SegDLTrainingLib.analysis.properties import DIAMETER, THICKNESS
    from SegDLTrainingLib.analysis.strata import size_group, stratify, thickness_group

    rows = _read(arguments.table)
    if arguments.label is not None:
        rows = [row for row in rows if row.get("label") == str(arguments.label)]
    if len({row.get("label") for row in rows}) > 1:
        raise InputError(f"{arguments.table} has several labels.", hint="Choose one of them with --label.")
    if arguments.attributes:
        known = {row.get("case"): row for row in _read(arguments.attributes)}
        rows = [{**known.get(row.get("case"), {}), **row} for row in rows]
    groups = {THICKNESS: thickness_group, DIAMETER: size_group}
    if arguments.references:
        rows = _measured(rows, arguments, reporter)
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
        title = f"{arguments.figure} by {arguments.by}"
        print(json.dumps(found, indent=1) if arguments.json else _table(found, title))


def _measured(
    rows: list[dict[str, str]], arguments: argparse.Namespace, reporter: Reporter
) -> list[dict[str, str]]:
    """The rows with what ``--by`` measures of their references."""
    from SegDLTrainingLib.analysis.properties import DIAMETER, THICKNESS, measure, reference_files

    if arguments.by not in (THICKNESS, DIAMETER):
        raise InputError(
            f"'{arguments.by}' cannot be measured in masks.",
            hint=f"--references is for {THICKNESS}, {DIAMETER}.",
        )
    files, found = reference_files(arguments.references), []
    for number, row in enumerate(rows):
        if row.get("case", "") not in files:
            raise InputError(f"Case '{row.get('case', '?')}' has no reference in {arguments.references}.")
        value = measure(arguments.by, files[row["case"]], arguments.label)
        found.append({**row, arguments.by: str(value)})
        reporter.progress("reading", (number + 1) / len(rows))
    return found


def _masks(arguments: argparse.Namespace, reporter: Reporter) -> None:
    import numpy as np

    from SegDLTrainingLib.analysis.masks import draw, mask_statistics

    parts = {}
    for number, entry in enumerate(arguments.parts):
        name, _, folder = entry.partition("=")
        if not folder:
            raise InputError(f"'{entry}' is not NAME=FOLDER.", hint="For example training=labelsTr")
        try:
            parts[name] = mask_statistics(_labelmaps(Path(folder)), arguments.size)
        except InputError as error:
            raise InputError(f"{name}: {error.text}", hint=error.hint) from error
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
    """Arrays (k, j, i) of the folder's labelmaps, all with the patient's right, front and feet first."""
    from SegDLEngine.images.reading import read_labels
    from SegDLEngine.measurement.cohort import LABEL_EXTENSIONS
    from SegDLEngine.preprocessing.lungs.orientation import PatientOrder

    if not folder.is_dir():
        raise InputError(f"The folder {folder} is not there.")
    paths = [path for path in sorted(folder.iterdir()) if path.name.endswith(LABEL_EXTENSIONS)]
    if not paths:
        raise InputError(
            f"The folder {folder} has no labelmaps.",
            hint=f"It must hold the files themselves: {', '.join(LABEL_EXTENSIONS)}.",
        )
    for path in paths:
        labels = read_labels(path)
        yield PatientOrder.of(labels.grid).to_patient(labels.array)


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


def _table(rows: list[dict[str, Any]], title: str) -> str:
    width = max(len(title), *(len(row["group"]) for row in rows)) + 2
    lines = [f"{title:{width}}{'cases':>6}{'undefined':>11}{'mean':>9}{'median':>9}{'IQR':>9}"]
    for row in rows:
        figures = ("-" if row[name] is None else f"{row[name]:.4f}" for name in ("mean", "median", "iqr"))
        counts = f"{row['cases']:>6}{row['undefined']:>11}"
        lines.append(f"{row['group']:{width}}{counts}{''.join(f'{figure:>9}' for figure in figures)}")
    return "\n".join(lines)
