"""``segdl evaluate``: segmentations against their references."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from SegDLEngine.command_line.tables import print_table
from SegDLEngine.errors import InputError

if TYPE_CHECKING:
    from SegDLEngine.images.image import Image
    from SegDLEngine.measurement.cohort import Pair

_COLUMNS = {
    "label": "label",
    "dice": "Dice",
    "soft_dice": "soft Dice",
    "jaccard": "Jaccard",
    "precision": "precision",
    "recall": "recall",
    "specificity": "specificity",
    "boundary_dice": "boundary",
    "hd95_mm": "HD95 mm",
    "mean_surface_distance_mm": "surface mm",
    "reference_ml": "reference ml",
    "prediction_ml": "prediction ml",
    "volume_difference": "difference",
    "detected_lesions": "detected",
    "false_lesions": "false",
}
_OVER_CASES = ("dice", "soft_dice", "jaccard", "precision", "recall", "specificity", "boundary_dice")
_OVER_CASES_MM = ("hd95_mm", "mean_surface_distance_mm")
_DESCRIPTION = """\
Overlap, surface distances, volumes and lesions found, for each label.

Two files, two folders whose files bear the same names, or a table of --cases. Two empty masks agree: their
ratios are 1 and their distances 0; a figure that is not defined, such as the distance to an empty mask, is
left empty. Recall is sensitivity. HD95 and the mean surface distance run both ways, in mm; "boundary" is the
Dice of the boundary voxels (mask XOR its erosion by six neighbours). Lesions are components by 26 neighbours;
one is detected when a predicted voxel lies in it."""


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="compare segmentations with their references",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--reference", help="labelmap or .seg.nrrd, or a folder of them")
    parser.add_argument("--prediction", help="labelmap or .seg.nrrd, or a folder of them")
    parser.add_argument(
        "--cases",
        metavar="CSV",
        help="instead: a table case, reference, prediction and, optional, probability",
    )
    parser.add_argument("--reference-labels", metavar="1,2", help="values that together are the foreground")
    parser.add_argument("--prediction-labels", metavar="1,2", help="the same for the prediction")
    parser.add_argument(
        "--probability",
        action="append",
        default=[],
        metavar="[LABEL=]FILE",
        help="probabilities 0..1 for the soft Dice, of the foreground or of a label; may be repeated",
    )
    parser.add_argument("--output", metavar="FILE", help="write all rows as .csv or .json")
    parser.add_argument(
        "--json", action="store_true", help="print JSON: rows, or rows and summary of many cases"
    )


def run(arguments: argparse.Namespace) -> int:
    from SegDLEngine.measurement.cohort import complete, summary
    from SegDLEngine.outputs import OutputFiles

    single = _single(arguments)
    if arguments.output and not arguments.output.lower().endswith((".csv", ".json")):
        raise InputError(f"A table cannot be written as '{arguments.output}'.", hint="Use .csv or .json.")
    pairs = None if single else _pairs(arguments)
    with OutputFiles({"table": arguments.output}, filter(None, [arguments.cases])) as outputs:
        if pairs is None:
            rows = _evaluate(arguments, arguments.reference, arguments.prediction, arguments.probability)
            table: Any = rows
        else:
            rows = complete({pair.case: _evaluate_pair(arguments, pair) for pair in pairs})
            table = {"cases": rows, "summary": summary(rows)}
        if "table" in outputs:
            _write(outputs.path("table"), rows, table)
    if arguments.json:
        print(json.dumps(table, indent=1))
    elif pairs is None:
        print_table(list(_COLUMNS.values()), [[_cell(row, name) for name in _COLUMNS] for row in rows])
    else:
        _print_cases(rows, table["summary"])
    return 0


def label_values(text: str | None) -> list[int] | None:
    """Label values of a text such as '1,2'; raises InputError."""
    if text is None:
        return None
    try:
        values = [int(word) for word in text.split(",")]
    except ValueError:
        values = []
    if not values or min(values) < 1:
        raise InputError(f"'{text}' is not a list of label values.", hint="Write whole numbers such as 1,2.")
    return values


def _single(arguments: argparse.Namespace) -> bool:
    """True for two files; raises InputError for options that do not go together."""
    both = arguments.reference and arguments.prediction
    if bool(arguments.cases) == bool(arguments.reference or arguments.prediction) or not (
        arguments.cases or both
    ):
        raise InputError(
            "Nothing to compare is named, or too much.",
            hint="Give --reference and --prediction, two files or two folders, or --cases.",
            code="usage",
        )
    folders = both and [Path(path).is_dir() for path in (arguments.reference, arguments.prediction)]
    if arguments.cases or all(folders):
        if arguments.probability:
            raise InputError(
                "--probability belongs to two files.",
                hint="For many cases give a table of --cases with a column 'probability'.",
                code="usage",
            )
        return False
    if any(folders):
        raise InputError("One of --reference and --prediction is a folder, the other is not.", code="usage")
    return True


def _pairs(arguments: argparse.Namespace) -> list[Pair]:
    from SegDLEngine.measurement.cohort import pairs_of_folders, read_pairs

    if arguments.cases:
        return read_pairs(Path(arguments.cases))
    return pairs_of_folders(Path(arguments.reference), Path(arguments.prediction), _warn)


def _evaluate_pair(arguments: argparse.Namespace, pair: Pair) -> list[dict[str, Any]]:
    probability = [str(pair.probability)] if pair.probability else []
    try:
        return _evaluate(arguments, pair.reference, pair.prediction, probability)
    except InputError as error:
        raise InputError(f"Case '{pair.case}': {error.text}", hint=error.hint, code=error.code) from error


def _evaluate(
    arguments: argparse.Namespace, reference: str | Path, prediction: str | Path, probability: Sequence[str]
) -> list[dict[str, Any]]:
    from SegDLEngine.images.reading import read_labels
    from SegDLEngine.measurement.evaluation import evaluate

    return evaluate(
        read_labels(reference, warn=_warn),
        read_labels(prediction, warn=_warn),
        reference_labels=label_values(arguments.reference_labels),
        prediction_labels=label_values(arguments.prediction_labels),
        probabilities=_read_probabilities(probability),
        warn=_warn,
    )


def _read_probabilities(texts: Sequence[str]) -> dict[int | None, Image]:
    from SegDLEngine.images.reading import read_image

    volumes: dict[int | None, Image] = {}
    for text in texts:
        value, equals, path = text.partition("=")
        named = bool(equals) and value.isdigit()
        label = int(value) if named else None
        if label in volumes:
            raise InputError(f"Two probability volumes are given for {_name(label)}.", code="usage")
        volumes[label] = read_image(path if named else text, warn=_warn)
    return volumes


def _write(path: Path, rows: Sequence[Mapping[str, Any]], table: Any) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        if path.suffix.lower() == ".json":
            json.dump(table, stream, indent=1)
            stream.write("\n")
        else:
            _write_csv(rows, stream)


def _write_csv(rows: Sequence[Mapping[str, Any]], stream: IO[str]) -> None:
    """Undefined figures are empty cells; the joined foreground is called 'all'."""
    writer = csv.DictWriter(stream, list(rows[0]))
    writer.writeheader()
    for row in rows:
        writer.writerow({**row, "label": _name(row["label"])})


def _print_cases(rows: Sequence[Mapping[str, Any]], over_all: Sequence[Mapping[str, Any]]) -> None:
    header = ["case", *_COLUMNS.values()]
    print_table(header, [[row["case"], *(_cell(row, name) for name in _COLUMNS)] for row in rows])
    print()
    figures = (*_OVER_CASES, *_OVER_CASES_MM)
    titles = ["label", "cases", *(_COLUMNS[name] for name in figures), "detected", "false per case"]
    print_table(
        titles,
        [
            [
                _name(row["label"]),
                str(row["cases"]),
                *(_mean(row, name) for name in figures),
                f"{row['detected_lesions']} of {row['reference_lesions']}",
                f"{row['false_lesions_per_case']:.2f}",
            ]
            for row in over_all
        ],
    )


def _mean(row: Mapping[str, Any], name: str) -> str:
    """Mean and standard deviation; in how many cases, where it is not all."""
    found = row[name]
    if found["mean"] is None:
        return "-"
    spread = "" if found["sd"] is None else f" ±{found['sd']:.3f}"
    part = "" if found["cases"] == row["cases"] else f" ({found['cases']})"
    return f"{found['mean']:.3f}{spread}{part}"


def _warn(code: str, text: str) -> None:
    print(f"segdl: warning: {text}", file=sys.stderr)


def _name(label: int | None) -> str:
    return "all" if label is None else str(label)


def _cell(row: Mapping[str, Any], name: str) -> str:
    value = row[name]
    if name == "label":
        return _name(value)
    if value is None:
        return "-"
    if name == "detected_lesions":
        return f"{value} of {row['reference_lesions']}"
    if name == "volume_difference":
        return f"{100 * value:+.1f} %"
    return str(value) if isinstance(value, int) else f"{value:.4f}"
