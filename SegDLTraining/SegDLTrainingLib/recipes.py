"""Recipes: every constant of a training, in one JSON file, or as changes to one that it ``extends``."""

from __future__ import annotations

import json
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SegDLEngine.errors import InputError, ModelError
from SegDLEngine.models.card import check_card
from SegDLEngine.models.catalogue import load_model

SCHEMA_NAME = "segdl-recipe-1"
SEGMENTATION, RESTORATION, SEMI_SUPERVISED = "segmentation", "restoration", "semi-supervised"
# The command that trains each task.
COMMANDS = {SEGMENTATION: "fit", RESTORATION: "pretrain", SEMI_SUPERVISED: "semi-supervised"}
NOT_INHERITED = ("weights", "results", "training", "thumbnail")
SCHEMA_FILE = Path(__file__).with_name("recipe.schema.json")


@dataclass(frozen=True)
class Recipe:
    """``data`` is the JSON object; ``card`` the model card that the result gets, still without weights."""

    data: dict[str, Any]

    def __getitem__(self, section: str) -> Any:
        return self.data[section]

    @property
    def card(self) -> dict[str, Any]:
        return self.data["card"]

    @property
    def task(self) -> str:
        """A key of ``COMMANDS``."""
        return self.data.get("task", SEGMENTATION)

    @property
    def seed(self) -> int:
        return int(self.data["seed"])

    @property
    def phases(self) -> list[Recipe]:
        """The recipe of each phase: its changes to the whole, table by table; one phase by default."""
        changes = self.data.get("phases") or [{}]
        whole = {key: value for key, value in self.data.items() if key != "phases"}
        return [Recipe(_merged(whole, change)) for change in changes]

    @property
    def validation(self) -> dict[str, Any]:
        """``mode`` and constants of the validation, see ``validation.Validation``."""
        training = self.data["training"]
        slices, batch = training.get("validation_slices", 96), self.data["sampling"]["batch"]
        return {"mode": "batches", "batches": -(-slices // batch), **training.get("validation", {})}

    @property
    def content(self) -> dict[str, Any]:
        """Everything that decides about the weights but the cases themselves: not names, not places."""
        free = ("id", "title", "report", "extends", "schema", "published")
        content = {key: value for key, value in self.data.items() if key not in free}
        places = ("path", "splits", "layout")
        content["data"] = {key: value for key, value in self.data["data"].items() if key not in places}
        return content

    def with_data(self, path: str | Path, **settings: str) -> Recipe:
        """The same recipe on the user's cases in ``path``, divided as the recipe's ``data.split`` says.

        ``settings``: ``layout``, ``splits``, ``fold``, see ``user_cases``.
        """
        kept = {key: self.data["data"][key] for key in ("split", "label_map") if key in self.data["data"]}
        data = {"source": "manifest", "path": str(path), **kept, **settings}
        return Recipe({**self.data, "data": data})

    def with_epochs(self, epochs: int) -> Recipe:
        """The same recipe with another length; a schedule that spans the training is stretched with it."""
        schedule = dict(self.data["schedule"])
        if "epochs" in schedule:
            schedule["epochs"] = epochs
        return Recipe(
            {**self.data, "schedule": schedule, "training": {**self.data["training"], "epochs": epochs}}
        )


def recipe_folders() -> list[Path]:
    """Where recipes lie: in the source tree or extension, else where pip puts the data of a package."""
    beside = Path(__file__).resolve().parents[1] / "Resources" / "Recipes"
    installed = Path(sysconfig.get_path("data")) / "share" / "segdl" / "recipes"
    return [folder for folder in (beside, installed) if folder.is_dir()][:1]


def list_recipes() -> list[Recipe]:
    """All shipped recipes by name."""
    paths = {path.stem: path for folder in recipe_folders() for path in sorted(folder.glob("*.json"))}
    return [load_recipe(path) for path in paths.values()]


def load_recipe(name_or_path: str | Path) -> Recipe:
    """The recipe of a file, or a shipped one by name; raises InputError that names the missing part."""
    path = Path(name_or_path)
    if not path.is_file():
        shipped = [folder / f"{name_or_path}.json" for folder in recipe_folders()]
        found = [candidate for candidate in shipped if candidate.is_file()]
        if not found:
            raise InputError(
                f"There is no recipe '{name_or_path}'.",
                hint="segdl-train recipes lists the shipped ones; or give the path of a JSON file.",
            )
        path = found[0]
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"The recipe {path} cannot be read: {error}.") from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA_NAME:
        raise InputError(f"{path} is no recipe: its 'schema' is not '{SCHEMA_NAME}'.")
    if "extends" in data:
        base = load_recipe(data["extends"]).data
        other_card = "from" in data.get("card", {})
        data = _merged({**base, "card": {}} if other_card else base, data)
    data = _with_whole_card(data, path)
    _check_schema(data, path)
    check_card(data["card"], f"{path}:card")
    return Recipe(data)


def _check_schema(data: Mapping[str, Any], path: Path) -> None:
    """Raise InputError that names the field which the schema refuses."""
    import jsonschema

    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(data))
    if error is not None:
        where = ".".join(map(str, error.absolute_path)) or "the recipe"
        raise InputError(f"The recipe {path}: {where}: {error.message}.", hint=f"See {SCHEMA_FILE.name}.")


def _with_whole_card(data: dict[str, Any], path: Path) -> dict[str, Any]:
    """The recipe with the card of ``card.from``, an installed model, and the recipe's changes to it.

    So the recipe of a report trains what its card runs; results and weights of that model are not taken.
    """
    changes = data.get("card")
    if not isinstance(changes, Mapping) or "from" not in changes:
        return data
    try:
        model = load_model(changes["from"], need_weights=False)
    except ModelError as error:
        raise InputError(f"The recipe {path}: card.from: {error.text}", hint=error.hint) from error
    kept = {key: value for key, value in model.card.data.items() if key not in NOT_INHERITED}
    own = {key: value for key, value in changes.items() if key != "from"}
    return {**data, "card": _merged(kept, own)}


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the entries of ``changes``, table by table, but for tables that say ``replace``."""
    if changes.get("replace"):
        return {key: value for key, value in changes.items() if key != "replace"}
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(base.get(key), Mapping)
        merged[key] = _merged(base[key], value) if both else value
    return merged


def licence_text() -> Path:
    """The licence that goes into packages: the repository's, or that of the engine's shipped model."""
    here = Path(__file__).resolve()
    shipped = here.parents[1] / "SegDLEngine" / "models" / "shipped" / "lung-tumor-unet2d" / "LICENSE.txt"
    candidates = [here.parents[2] / "LICENSE.txt", shipped]
    for path in candidates:
        if path.is_file():
            return path
    raise InputError("The licence file for the package is missing.", hint="Install the package again.")
