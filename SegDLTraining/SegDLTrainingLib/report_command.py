"""``segdl-train report``: finished trainings in the reports' own tables."""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

from SegDLEngine.images.writing import replacing
from SegDLEngine.protocol import Reporter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("packages", nargs="+", metavar="DIR", help="model packages that segdl-train wrote")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the table there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there, for a text")
    parser.add_argument("--json", action="store_true", help="print JSON rows")
    parser.add_argument(
        "--only-trained", action="store_true", help="leave out rows of the same tables that are not trained"
    )


def run(arguments: argparse.Namespace, reporter: Reporter) -> None:
    from SegDLTrainingLib.report import COLUMNS, markdown_table, report_rows, text_table

    rows = report_rows(arguments.packages, missing=not arguments.only_trained)
    if arguments.csv:
        with (
            replacing(arguments.csv, ".csv") as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            table = csv.DictWriter(file, [*COLUMNS, "definition"])
            table.writeheader()
            table.writerows(rows)
    if arguments.markdown:
        with replacing(arguments.markdown, ".md") as temporary:
            temporary.write_text(markdown_table(rows), encoding="utf-8")
    reporter.emit("result", rows=rows)
    if arguments.progress != "json":
        print(json.dumps(rows, indent=1) if arguments.json else text_table(rows))
