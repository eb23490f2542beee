"""``segdl lungs --compare``: the lung masks of the three methods beside each other."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from SegDLEngine.command_line.evaluate import label_values
from SegDLEngine.command_line.tables import print_table
from SegDLEngine.errors import InputError
from SegDLEngine.protocol import Event, Reporter

COLUMNS = {
    "mask": "mask",
    "lungs_ml": "ml",
    "seconds": "s",
    "dice_classical": "Dice classical",
    "dice_watershed": "Dice watershed",
    "dice_unet": "Dice unet",
    "dice_reference": "Dice reference",
    "coverage_reference": "coverage",
}
_DECIMALS = {"lungs_ml": 0, "seconds": 2}


def run_comparison(arguments: argparse.Namespace) -> int:
    """Print the table, and write it to ``output`` as .csv or .json if there is one."""
    for name in ("lungs", "report"):
        if getattr(arguments, name):
            raise InputError(f"--{name} does not go with --compare.", code="usage")
    if len(arguments.reference_values or []) > 1:
        raise InputError("--compare takes --reference-values once.", code="usage")
    if arguments.output and not arguments.output.lower().endswith((".csv", ".json")):
        raise InputError(
            f"A comparison cannot be written as '{arguments.output}'.",
            hint="Use .csv or .json, or leave it out.",
        )
    from SegDLEngine.images.checks import check_image
    from SegDLEngine.images.reading import read_image, read_labels
    from SegDLEngine.outputs import OutputFiles
    from SegDLEngine.preprocessing.lungs.comparison import compare_lungs

    inputs = filter(None, (arguments.ct, arguments.reference))
    outputs = OutputFiles({"table": arguments.output}, inputs)
    values = label_values(arguments.reference_values[0]) if arguments.reference_values else None
    reporter = Reporter(_show_warning)
    labels = read_labels(arguments.reference, warn=reporter.warning) if arguments.reference else None
    image = read_image(arguments.ct, modality="CT", unit="HU", warn=reporter.warning)
    check_image(image, "CT", modality="CT", unit="HU")
    rows = compare_lungs(
        image, labels=labels, values=values, model=arguments.model, device=arguments.device, reporter=reporter
    )
    with outputs:
        if "table" in outputs:
            _write(outputs.path("table"), rows)
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return 0
    columns = [name for name in COLUMNS if labels is not None or not name.endswith("reference")]
    print_table([COLUMNS[name] for name in columns], [[_cell(row, name) for name in columns] for row in rows])
    for row in rows:
        if row["note"]:
            print(f"{row['mask']}: {row['note']}")
    return 0


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        if path.suffix.lower() == ".json":
            json.dump(rows, stream, indent=1)
            stream.write("\n")
            return
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _cell(row: Mapping[str, Any], name: str) -> str:
    value = row[name]
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:.{_DECIMALS.get(name, 3)}f}"


def _show_warning(event: Event) -> None:
    if event["event"] == "warning":
        print(f"segdl: warning: {event['text']}", file=sys.stderr)
