"""``segdl evaluate``: a segmentation against its reference."""

from __future__ import annotations

import argparse
import json
import sys

from SegDLEngine.command_line.tables import print_table
from SegDLEngine.errors import InputError

_COLUMNS = {
    "label": "label",
    "dice": "Dice",
    "jaccard": "Jaccard",
    "precision": "precision",
    "recall": "recall",
    "specificity": "specificity",
    "hd95_mm": "HD95 mm",
    "mean_surface_distance_mm": "surface mm",
    "reference_ml": "reference ml",
    "prediction_ml": "prediction ml",
    "volume_difference": "difference",
    "detected_lesions": "detected",
    "false_lesions": "false",
}


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="compare a segmentation with its reference",
        description="Overlap, surface distances, volumes and lesions found, for each label.",
    )
    parser.add_argument("--reference", required=True, help="labelmap or .seg.nrrd")
    parser.add_argument("--prediction", required=True, help="labelmap or .seg.nrrd")
    parser.add_argument("--reference-labels", metavar="1,2", help="values that together are the foreground")
    parser.add_argument("--prediction-labels", metavar="1,2", help="the same for the prediction")
    parser.add_argument("--json", action="store_true", help="print rows as JSON")


def run(arguments: argparse.Namespace) -> int:
    from SegDLEngine.images.reading import read_labels
    from SegDLEngine.measurement.evaluation import evaluate

    rows = evaluate(
        read_labels(arguments.reference, warn=_warn),
        read_labels(arguments.prediction, warn=_warn),
        reference_labels=label_values(arguments.reference_labels),
        prediction_labels=label_values(arguments.prediction_labels),
        warn=_warn,
    )
    if arguments.json:
        print(json.dumps(rows, indent=1))
    else:
        print_table(list(_COLUMNS.values()), [[_cell(row, name) for name in _COLUMNS] for row in rows])
    return 0


def _warn(code: str, text: str) -> None:
    print(f"segdl: warning: {text}", file=sys.stderr)


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


def _cell(row: dict, name: str) -> str:
    value = row[name]
    if name == "label":
        return "all" if value is None else str(value)
    if value is None:
        return "-"
    if name == "detected_lesions":
        return f"{value} of {row['reference_lesions']}"
    if name == "volume_difference":
        return f"{100 * value:+.1f} %"
    return str(value) if isinstance(value, int) else f"{value:.4f}"
