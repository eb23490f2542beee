"""Finished trainings beside the figures that the reports published.

Everything is read from the model packages: the figures that their recipe repeats, and what the training
measured by the same definition (``figures``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from SegDLEngine.errors import InputError, ModelError
from SegDLEngine.models.card import ModelCard
from SegDLEngine.models.catalogue import load_model

from SegDLTrainingLib.figures import DEFINITIONS, DICE, PARTS
from SegDLTrainingLib.places import CHECKPOINT_FILE, working_folder
from SegDLTrainingLib.recipes import list_recipes, published_entries

NO_TABLE = "no table of the reports"
COLUMNS = (
    "table", "row", "part", "label", "metric", "published", "measured", "cases", "division", "recipe", "run",
)  # fmt: skip

Row = dict[str, Any]


def report_rows(packages: Sequence[str | Path], *, missing: bool = True) -> list[Row]:
    """One row for each figure, in the order of the reports' tables.

    ``published`` is None where the report has no figure, ``measured`` where nothing was measured.  With
    ``missing`` the shipped recipes of the same tables that no package is of are there too, their ``run`` "".
    Raises InputError for a package that no recipe made.
    """
    rows = [row for package in packages for row in _rows_of(package)]
    if missing:
        rows += _missing_rows(rows)
    return sorted(rows, key=lambda row: (row["table"] == NO_TABLE, row["table"], row["row"]))


def _rows_of(package: str | Path) -> list[Row]:
    card = _card_of(package)
    training = card.data.get("training", {})
    if "recipe" not in training:
        raise InputError(
            f"{package}: the package does not say by which recipe it was trained.",
            hint="Give packages that segdl-train has written.",
        )
    common = {
        "recipe": training["recipe"],
        "division": _division(training),
        "run": str(package),
    }
    entries = published_entries(training)
    measured = _measured(training)
    if not entries:
        nothing = {"table": NO_TABLE, "row": training["recipe"], "definition": ""}
        return [{**common, **nothing, **figure, "published": None} for figure in measured]
    return [row for entry in entries for row in _entry_rows(entry, card, measured, common)]


def _card_of(package: str | Path) -> ModelCard:
    try:
        return load_model(package).card
    except ModelError as error:
        path = Path(package)
        if (path / "ensemble").is_dir():
            hint = f"Give {path / 'ensemble'}, or the folds in it one by one."
            raise InputError(f"{package} holds several packages.", hint=hint) from error
        if (working_folder(path) / CHECKPOINT_FILE).is_file():
            hint = "The command that began it goes on from its checkpoint."
            raise InputError(f"The training of {package} is not finished.", hint=hint) from error
        raise


def _entry_rows(
    entry: Mapping[str, Any], card: ModelCard, measured: Sequence[Row], common: Mapping[str, Any]
) -> list[Row]:
    """The published figures of one table, each with what was measured, then what was measured besides."""
    place = {"table": entry["table"], "row": entry["row"], "definition": entry["definition"]}
    mine = {
        (figure["part"], figure["label"]): figure
        for figure in measured
        if figure["metric"] == entry["metric"]
    }
    rows = []
    for part, label, value in published_figures(entry, [each["name"] for each in card.labels]):
        figure = mine.pop((part, label), {"measured": None, "cases": 0})
        figure = {**figure, "part": part, "label": label, "metric": entry["metric"]}
        rows.append({**common, **place, **figure, "published": value})
    return rows + [{**common, **place, **figure, "published": None} for figure in mine.values()]


def published_figures(entry: Mapping[str, Any], labels: Sequence[str]) -> list[tuple[str, str, float]]:
    """Part, label or region, and value of each figure of a recipe's ``published``."""
    value, part = entry["value"], entry["column"]
    if not isinstance(value, Mapping):
        return [(part, labels[0], value)]
    return [
        (name, labels[0], number) if name in PARTS else (part, name, number) for name, number in value.items()
    ]


def _measured(training: Mapping[str, Any]) -> list[Row]:
    """Figures as rows; of packages that have none by the reports' definitions the Dice of the validation."""
    if "measured" in training:
        return [
            {
                "metric": figure["metric"], "part": figure["part"], "label": figure["name"],
                "measured": figure["value"], "cases": figure["cases"],
            }
            for figure in training["measured"]
        ]  # fmt: skip
    figures = training.get("validation")
    if not isinstance(figures, Mapping):
        figures = {}
    rows = [
        {
            "metric": DICE, "part": "validation", "label": name,
            "measured": figure.get("dice_mean"), "cases": figure.get("cases", 0),
        }
        for name, figure in figures.items()
    ]  # fmt: skip
    return rows or [{"metric": DICE, "part": "validation", "label": "", "measured": None, "cases": 0}]


def _division(training: Mapping[str, Any]) -> str:
    """How the cases were divided and how many each part had."""
    data, cases = training.get("data", {}), training.get("cases", {})
    split = data.get("split", {})
    if "splits" in data:
        how = Path(str(data["splits"])).name
    elif data.get("source", "manifest") != "manifest":
        how = data["source"]
    else:
        numbers = split.get("ratio") or split.get("counts") or [split.get("folds", "")]
        how = f"{split.get('method', '')} {':'.join(map(str, numbers))}".strip()
    if "folds" in training:
        return f"{how}, {len(training['folds'])} folds"
    counts = "/".join(str(cases.get(part, 0)) for part in ("training", "validation", "test"))
    fold = f", fold {data['fold']}" if "fold" in data else ""
    return f"{how}{fold}, {counts}" if cases else how


def _missing_rows(rows: Sequence[Row]) -> list[Row]:
    """Rows of the shipped recipes that publish in the same tables."""
    tables, trained = {row["table"] for row in rows}, {(row["table"], row["row"]) for row in rows}
    missing = []
    for recipe in list_recipes():
        labels = [label["name"] for label in recipe.card["labels"]]
        for entry in recipe.published:
            if entry["table"] in tables and (entry["table"], entry["row"]) not in trained:
                missing += [
                    {
                        "table": entry["table"], "row": entry["row"], "part": part, "label": label,
                        "metric": entry["metric"], "definition": entry["definition"], "published": value,
                        "measured": None, "cases": 0, "division": "", "run": "", "recipe": recipe["id"],
                    }
                    for part, label, value in published_figures(entry, labels)
                ]  # fmt: skip
    return missing


def text_table(rows: Sequence[Row]) -> str:
    """The rows as text, with the definitions of the figures below."""
    cells = [list(COLUMNS), *([cell_text(row, name) for name in COLUMNS] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
    return "\n".join([*lines, "", *definitions(rows)])


def markdown_table(rows: Sequence[Row]) -> str:
    """The rows as a table in Markdown for each table of the reports, with the definitions below."""
    lines: list[str] = []
    columns = COLUMNS[1:]
    for table in dict.fromkeys(row["table"] for row in rows):
        lines += [f"## {table[0].upper()}{table[1:]}", "", f"| {' | '.join(columns)} |"]
        lines.append("|" + " --- |" * len(columns))
        for row in rows:
            if row["table"] == table:
                cells = (cell_text(row, name).replace("|", "\\|") for name in columns)
                lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join([*lines, *(f"- {line}" for line in definitions(rows))]) + "\n"


def definitions(rows: Sequence[Row]) -> list[str]:
    """How the figures are defined, ours by metric and the reports' by table."""
    metrics = dict.fromkeys(row["metric"] for row in rows)
    published = dict.fromkeys((row["table"], row["definition"]) for row in rows if row["definition"])
    return [
        *(f"measured, {metric}: {DEFINITIONS[metric]}" for metric in metrics if metric in DEFINITIONS),
        *(f"published, {table}: {definition}" for table, definition in published),
        "division: how the cases were divided, with the number of cases for training/validation/test",
    ]


def cell_text(row: Row, name: str) -> str:
    if name == "run" and not row["run"]:
        return "not trained"
    value = row[name]
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
