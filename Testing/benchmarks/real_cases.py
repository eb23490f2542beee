"""What the benchmarks on real cases share: arguments, the folder of the data, tables, results in the card."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "SegDL")]

from SegDLEngine import load_model  # noqa: E402
from SegDLEngine.models.card import CARD_FILE, check_card  # noqa: E402

Rows = Sequence[Mapping[str, Any]]


def parser_of(documentation: str) -> argparse.ArgumentParser:
    """With ``--json``, ``--into-card`` and ``--pictures``."""
    parser = argparse.ArgumentParser(description=documentation.splitlines()[0])
    parser.add_argument("--json", type=Path, help="file for the rows")
    parser.add_argument("--into-card", action="store_true", help="write the rows into the model's card")
    parser.add_argument("--pictures", type=Path, help="folder for one picture a case")
    return parser


def data_folder(*parts: str) -> Path:
    """A folder of the real test images; ends the program with exit code 2 where they are absent."""
    folder = Path(os.environ.get("SEGDL_TEST_DATA") or ROOT.parent / "shared" / "data").joinpath(*parts)
    if not folder.is_dir():
        print("The real test images are absent; set SEGDL_TEST_DATA to their folder.", file=sys.stderr)
        raise SystemExit(2)
    return folder


def print_rows(rows: Rows) -> None:
    """A table with columns of 12 characters."""
    print(" ".join(f"{name:>12.12}" for name in rows[0]))
    for row in rows:
        print(" ".join(f"{row[name]!s:>12.12}" for name in row))


def write_json(content: Any, path: Path) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_results(model: str, rows: Rows) -> None:
    """Put the rows into the model's card as its results."""
    path = load_model(model).folder / CARD_FILE
    card = {**json.loads(path.read_text(encoding="utf-8")), "results": list(rows)}
    check_card(card, str(path))
    write_json(card, path)
