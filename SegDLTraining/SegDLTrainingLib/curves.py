"""The curve of a training as files: JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from SegDLTrainingLib.checkpoint import write_file

HISTORY_FILE, CSV_FILE = "history.json", "history.csv"


def write_history(history: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """One row an epoch; a column that an epoch lacks is empty in the CSV."""
    write_file(folder / HISTORY_FILE, (json.dumps(list(history), indent=1) + "\n").encode())
    columns = list(dict.fromkeys(key for row in history for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_file(folder / CSV_FILE, text.getvalue().encode())
