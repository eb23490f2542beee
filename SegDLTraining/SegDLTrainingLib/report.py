"""Finished trainings beside the figures that the reports published.

Everything is read from the model packages: the recipe's published figure, and what the training measured on
its own validation cases.  The two are comparable only as far as their definitions are, so both are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from SegDLEngine.errors import InputError
from SegDLEngine.models.catalogue import load_model

MEASURED = "hard Dice of whole validation cases, mean of the cases in which the label is or was found"
COLUMNS = ("table", "row", "label", "column", "metric", "published", "measured", "cases", "run")


def report_rows(packages: Sequence[str | Path]) -> list[dict[str, Any]]:
    """One row for each label of each package, in the order of the reports' tables.

    ``published`` is None where the report has no figure, ``measured`` where nothing was validated.  Raises
    InputError for a package that no recipe made.
    """
    rows = [row for package in packages for row in _rows(package)]
    return sorted(rows, key=lambda row: (row["table"], row["row"]))


def _rows(package: str | Path) -> list[dict[str, Any]]:
    card = load_model(package).card
    training = card.data.get("training", {})
    if "recipe" not in training:
        raise InputError(
            f"{package}: the package does not say by which recipe it was trained.",
            hint="Give packages that segdl-train fit has written.",
        )
    published = training.get("published") or {}
    figures = _measured(training)
    value = published.get("value")
    common = {
        "table": published.get("table", "no table of the reports"),
        "row": published.get("row", training["recipe"]),
        "column": published.get("column", ""),
        "metric": published.get("metric", "dice"),
        "definition": published.get("definition", ""),
        "run": str(package),
    }
    rows = []
    for label in card.labels:
        name = label["name"]
        mine = figures.get(name, {})
        theirs = value.get(name) if isinstance(value, dict) and name in value else None
        rows.append(
            {
                **common,
                "label": name,
                "published": theirs,
                "measured": mine.get("dice_mean"),
                "cases": mine.get("cases", 0),
            }
        )
    if isinstance(value, dict):
        others = [key for key in value if key not in {label["name"] for label in card.labels}]
        rows += [
            {**common, "label": "", "column": key, "published": value[key], "measured": None, "cases": 0}
            for key in others
        ]
    elif value is not None:
        rows[0]["published"] = value
    return rows


def _measured(training: dict[str, Any]) -> dict[str, dict[str, Any]]:
    figures = training.get("validation")
    return figures if isinstance(figures, dict) else {}


def text_table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as text, with the definitions of both figures below."""
    cells = [[_text(row[name]) for name in COLUMNS] for row in rows]
    widths = [max(len(name), *(len(line[place]) for line in cells)) for place, name in enumerate(COLUMNS)]
    lines = ["  ".join(name.ljust(width) for name, width in zip(COLUMNS, widths, strict=True)).rstrip()]
    lines += [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
    definitions = {row["table"]: row["definition"] for row in rows if row["definition"]}
    lines += ["", f"measured: {MEASURED}"]
    lines += [f"published, {table}: {definition}" for table, definition in definitions.items()]
    return "\n".join(lines)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
