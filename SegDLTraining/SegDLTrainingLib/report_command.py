"""``segdl-train report``: finished trainings in the reports' own tables."""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

from SegDLEngine.protocol import Reporter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("packages", nargs="+", metavar="DIR", help="model packages that segdl-train wrote")
    parser.add_argument("--csv", type=Path, help="write the table there")
    parser.add_argument("--json", action="store_true", help="print JSON rows")


def run(arguments: argparse.Namespace, reporter: Reporter) -> None:
    from SegDLTrainingLib.report import COLUMNS, report_rows, text_table

    rows = report_rows(arguments.packages)
    if arguments.csv:
        with arguments.csv.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, [*COLUMNS, "definition"])
            table.writeheader()
            table.writerows(rows)
    reporter.emit("result", rows=rows)
    if arguments.progress != "json":
        print(json.dumps(rows, indent=1) if arguments.json else text_table(rows))
