"""What ``segdl models`` tells people about models: the list, and one model at length."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from SegDLEngine.command_line.tables import print_table

if TYPE_CHECKING:
    from SegDLEngine.models.catalogue import Model

_INDENT = 13
_WIDEST = 100
_UNCERTAINTY = {
    "none": "none",
    "monte_carlo_dropout": "Monte Carlo dropout, {samples} passes",
    "flip_tta": "spread over mirror images",
    "ensemble": "spread over the folds of the weights",
}


def print_models(rows: Sequence[Mapping[str, Any]]) -> None:
    """A line for each model, and what to do about those without weights."""
    table = [
        (
            row["id"],
            row["title"],
            ", ".join(row["inputs"]),
            "installed" if row["installed"] else "to be added",
        )
        for row in rows
    ]
    print_table(("id", "title", "inputs", "weights"), table)
    missing = sum(not row["installed"] for row in rows)
    if missing:
        print(f"\n{missing} of {len(rows)} have no weights; segdl models show ID tells how to add them.")


def print_model(model: Model) -> None:
    """The card, folded to the terminal's width."""
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    for name, text in _facts(model):
        lines = [
            line
            for part in text.splitlines()
            for line in textwrap.wrap(part, width - _INDENT, break_long_words=False, break_on_hyphens=False)
        ]
        for number, line in enumerate(lines or [""]):
            print(f"{name if number == 0 else '':<{_INDENT}}{line}".rstrip())


def ways_to_weights(identifier: str, training: Mapping[str, Any]) -> str:
    """How a model that has no weights gets some, a line for each way."""
    recipe = training.get("recipe")
    fit = f"--recipe {recipe} (your own training)" if recipe else "--recipe RECIPE (see segdl-train recipes)"
    return "\n".join(
        (
            "not installed. Add them in one of these ways:",
            "segdl models install PACKAGE (a package of this model)",
            f"segdl models import FILE --as {identifier} (weights that you have)",
            f"segdl-train fit {fit}",
        )
    )


def _facts(model: Model) -> Iterator[tuple[str, str]]:
    card = model.card
    yield "model", f"{card.id} {card.version}: {card.title}"
    yield "finds", card.data["task"]
    yield "description", card.data["description"]
    for number, entry in enumerate(card.inputs):
        yield "inputs" if number == 0 else "", _input(entry)
    yield "labels", ", ".join(f"{label['value']} {label['name']}" for label in card.labels)
    yield "network", f"{card.network['name']} {json.dumps(card.network['options'])}"
    kind = card.inference.get("uncertainty", "none")
    yield "uncertainty", _UNCERTAINTY[kind].format(samples=card.inference.get("samples", 0))
    yield "licence", card.licence["spdx"]
    yield "use", card.data["intended_use"]
    training = card.data.get("training") or {}
    yield "weights", model.sha256 if model.installed else ways_to_weights(card.id, training)
    yield "folder", str(model.folder)
    for result in card.data.get("results", []):
        yield "result", result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)


def _input(entry: Mapping[str, Any]) -> str:
    kind = ", ".join(part for part in (entry["modality"], entry["unit"]) if part)
    optional = "" if entry["required"] else ", may be missing"
    text = f": {entry['description']}" if entry.get("description") else ""
    return f"{entry['name']} ({kind}{optional}){text}"
