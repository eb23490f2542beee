"""The model card: what a model finds and how its images are prepared, as data.

The published schema is ``card.schema.json``.  Unknown keys are refused, except below ``training`` and
``results``, so that a misspelt setting never passes silently.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SegDLEngine.errors import ModelError

SCHEMA_NAME = "segdl-model-card-1"
CARD_FILE = "model.json"
CARD_LIMIT = 1 << 20
ENSEMBLE = "ensemble"
_SCHEMA_PATH = Path(__file__).with_name("card.schema.json")


@dataclass(frozen=True)
class ModelCard:
    """A valid card; ``data`` is the JSON object of the file."""

    data: dict[str, Any]

    @property
    def id(self) -> str:
        return self.data["id"]

    @property
    def version(self) -> str:
        return self.data["version"]

    @property
    def title(self) -> str:
        return self.data["title"]

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """The images of a case in the order of the channels; the first is the reference."""
        return self.data["inputs"]

    @property
    def input_names(self) -> list[str]:
        return [entry["name"] for entry in self.inputs]

    @property
    def reference(self) -> str:
        """Name of the input whose grid the result returns to."""
        return self.inputs[0]["name"]

    @property
    def labels(self) -> list[dict[str, Any]]:
        return self.data["labels"]

    @property
    def network(self) -> dict[str, Any]:
        return self.data["network"]

    @property
    def preprocessing(self) -> list[dict[str, Any]]:
        return self.data["preprocessing"]

    @property
    def inference(self) -> dict[str, Any]:
        return self.data["inference"]

    @property
    def postprocessing(self) -> list[dict[str, Any]]:
        return self.data["postprocessing"]

    @property
    def licence(self) -> dict[str, str]:
        return self.data["licence"]

    @property
    def weights(self) -> dict[str, Any] | None:
        """The card's entry of the weights; None while they are not part of the package."""
        return self.data.get("weights")

    @property
    def weight_files(self) -> list[dict[str, str]]:
        """File name and SHA-256 of the weights: one entry, one for each fold of an ensemble, or none."""
        if self.weights is None:
            return []
        return self.weights.get("folds") or [self.weights]

    @property
    def sha256(self) -> str:
        """SHA-256 of the weights, empty without them; of an ensemble that of its folds' SHA-256 in hex."""
        found = [entry["sha256"] for entry in self.weight_files]
        if len(found) > 1:
            return hashlib.sha256("".join(found).encode()).hexdigest()
        return "".join(found)


def load_card(path: str | Path) -> ModelCard:
    """The card of a ``model.json`` or of the folder that holds it; raises ModelError when it is not valid."""
    path = Path(path)
    if path.is_dir():
        path = path / CARD_FILE
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= CARD_LIMIT else b""
    except OSError as error:
        raise ModelError(
            f"The model card {path} cannot be read: {error.strerror}.",
            hint="A model package is a folder or zip with a model.json.",
        ) from error
    if size > CARD_LIMIT:
        raise ModelError(f"The model card {path} is larger than {CARD_LIMIT} bytes.")
    return parse_card(content, str(path))


def parse_card(content: bytes, source: str) -> ModelCard:
    """The card of the bytes of a ``model.json``; ``source`` names the file in errors."""
    try:
        data = json.loads(content.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"The model card {source} is not valid JSON: {error}.",
            hint="Repair it or install the model again.",
        ) from error
    return check_card(data, source)


def check_card(data: Any, source: str = "model card") -> ModelCard:
    """The card of a JSON object; raises ModelError that names the field when it breaks the schema."""
    import jsonschema

    schema = json.loads(_SCHEMA_PATH.read_text(encoding="utf-8"))
    errors = jsonschema.Draft202012Validator(schema).iter_errors(data)
    worst = jsonschema.exceptions.best_match(errors)
    if worst is not None:
        raise _card_error(source, _field(worst.absolute_path), worst.message)
    card = ModelCard(data)
    _check_unique(source, "inputs", "name", card.inputs)
    _check_unique(source, "labels", "value", card.labels)
    _check_unique(source, "labels", "name", card.labels)
    _check_unique(source, "weights.folds", "file", card.weight_files)
    if len(card.weight_files) == 1 and card.inference.get("uncertainty") == ENSEMBLE:
        reason = "the spread of an ensemble needs the weights of several folds"
        raise _card_error(source, "inference.uncertainty", reason)
    if not any(entry["required"] for entry in card.inputs[:1]):
        raise _card_error(source, "inputs[0].required", "the reference input must be required")
    return card


def card_row(card: ModelCard, installed: bool) -> dict[str, Any]:
    """The row of ``segdl models list --json``."""
    return {
        "id": card.id,
        "title": card.title,
        "inputs": card.input_names,
        "labels": [label["name"] for label in card.labels],
        "installed": installed,
        "licence": card.licence["spdx"],
    }


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _check_unique(source: str, field: str, key: str, entries: Sequence[Mapping[str, Any]]) -> None:
    seen: set[Any] = set()
    for number, entry in enumerate(entries):
        if entry[key] in seen:
            raise _card_error(source, f"{field}[{number}].{key}", f"{entry[key]!r} is used twice")
        seen.add(entry[key])


def _card_error(source: str, field: str, reason: str) -> ModelError:
    reason = reason if len(reason) <= 300 else reason[:297] + "..."
    return ModelError(
        f"The model card {source} is not valid at '{field}': {reason}.",
        hint="Correct this field; the allowed ones are in card.schema.json.",
    )


def _field(path: Sequence[Any]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".") or "(top level)"
