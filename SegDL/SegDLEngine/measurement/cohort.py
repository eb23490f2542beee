"""Many predictions against their references: which files belong together, and figures over all cases."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SegDLEngine.errors import InputError
from SegDLEngine.measurement.evaluation import absent_row
from SegDLEngine.tables import read_table

LABEL_EXTENSIONS = (".seg.nrrd", ".nii.gz", ".nrrd", ".nii", ".mha")
COLUMNS = ("case", "reference", "prediction", "probability")

# Figures that are averaged over cases.
AVERAGED = (
    "dice",
    "soft_dice",
    "jaccard",
    "precision",
    "recall",
    "specificity",
    "boundary_dice",
    "hd95_mm",
    "mean_surface_distance_mm",
    "volume_difference_ml",
    "volume_difference",
)
_COUNTED = ("reference_lesions", "detected_lesions", "missed_lesions", "false_lesions")


@dataclass(frozen=True)
class Pair:
    """Files of one case."""

    case: str
    reference: Path
    prediction: Path
    probability: Path | None = None


def pairs_of_folders(
    reference: Path, prediction: Path, warn: Callable[[str, str], None] | None = None
) -> list[Pair]:
    """The files of two folders that bear the same name but for the extension, by name.

    Raises InputError when a reference has no prediction; ``warn`` hears of predictions without a reference.
    """
    references, predictions = _by_name(reference), _by_name(prediction)
    if not references:
        raise InputError(
            f"The folder {reference} has no segmentations.", hint=f"Known: {', '.join(LABEL_EXTENSIONS)}."
        )
    missing = sorted(set(references) - set(predictions))
    if missing:
        raise InputError(
            f"The folder {prediction} has no prediction for {len(missing)} of {len(references)} references:"
            f" {_some(missing)}.",
            hint="Predictions bear the names of their references; a table of --cases says other names.",
        )
    extra = sorted(set(predictions) - set(references))
    if extra and warn is not None:
        warn("extra-predictions", f"Predictions without a reference are left out: {_some(extra)}.")
    return [Pair(name, references[name], predictions[name]) for name in sorted(references)]


def read_pairs(path: Path) -> list[Pair]:
    """The rows of a CSV table with the columns case, reference, prediction and, if wanted, probability.

    Relative paths start at the table's folder.  Raises InputError that names the row and the column.
    """
    table = read_table(path, "table of cases")
    for name in COLUMNS[:3]:
        if name not in table.columns:
            raise InputError(
                f"The table of cases '{path}' has no column '{name}'.",
                hint=f"The columns are {', '.join(COLUMNS)}; the last may be absent.",
            )
    pairs: dict[str, Pair] = {}
    for number, row in table.rows:
        cells = {name: row.get(name, "") for name in COLUMNS}
        empty = next((name for name in COLUMNS[:3] if not cells[name]), None)
        if empty is not None:
            raise InputError(f"Row {number} of '{path}': column '{empty}' is empty.")
        if cells["case"] in pairs:
            raise InputError(f"Row {number} of '{path}': case '{cells['case']}' is there twice.")
        files = {name: path.parent / Path(cells[name]).expanduser() for name in COLUMNS[1:] if cells[name]}
        pairs[cells["case"]] = Pair(cells["case"], **files)
    if not pairs:
        raise InputError(f"The table of cases '{path}' has no rows.", hint="Write one row for each case.")
    return list(pairs.values())


def complete(cases: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """The rows of all cases, each with its ``case``, so that every case has a row for every label.

    A label that a case has neither in its reference nor in its prediction was rightly not predicted: two
    empty masks.  Without this, averages of rare labels would count only the cases that have them.
    """
    labels = {row["label"] for rows in cases.values() for row in rows}
    table = []
    for case, rows in cases.items():
        present = {row["label"]: row for row in rows}
        for label in sorted(labels, key=lambda value: -1 if value is None else value):
            table.append({"case": case, **(present.get(label) or absent_row(label))})
    return table


def summary(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row for each label over all cases.

    For each figure of ``AVERAGED`` ``{"mean", "sd", "median", "cases"}``: sample standard deviation (None for
    one case), and the number of cases in which the figure is defined; all None and 0 where it never is.
    Lesions are counted over all cases: ``lesion_sensitivity`` is the detected ones among those of the
    references (None without any), ``false_lesions_per_case`` a mean.
    """
    by_label: dict[int | None, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_label.setdefault(row["label"], []).append(row)
    return [_summary_row(label, group) for label, group in by_label.items()]


def _summary_row(label: int | None, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    counts = {name: sum(row[name] for row in rows) for name in _COUNTED}
    lesions = counts["reference_lesions"]
    return {
        "label": label,
        "cases": len(rows),
        **{name: _spread([row[name] for row in rows if row[name] is not None]) for name in AVERAGED},
        **counts,
        "lesion_sensitivity": counts["detected_lesions"] / lesions if lesions else None,
        "false_lesions_per_case": counts["false_lesions"] / len(rows),
    }


def _spread(values: Sequence[float]) -> dict[str, float | int | None]:
    return {
        "mean": statistics.fmean(values) if values else None,
        "sd": statistics.stdev(values) if len(values) > 1 else None,
        "median": statistics.median(values) if values else None,
        "cases": len(values),
    }


def _by_name(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        extension = next((end for end in LABEL_EXTENSIONS if path.name.lower().endswith(end)), None)
        if extension is None or path.name.startswith(".") or not path.is_file():
            continue
        name = path.name[: -len(extension)]
        if name in found:
            raise InputError(
                f"The folder {folder} has two segmentations '{name}': {found[name].name} and {path.name}.",
                hint="Keep one of them, or name the files in a table of --cases.",
            )
        found[name] = path
    return found


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (" and others" if len(names) > 5 else "")
