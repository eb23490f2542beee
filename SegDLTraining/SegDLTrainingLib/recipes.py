"""Recipes: every constant of a training, in one JSON file, or as changes to one that it ``extends``."""

from __future__ import annotations

import difflib
import json
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SegDLEngine.errors import InputError, ModelError
from SegDLEngine.models.card import check_card
from SegDLEngine.models.catalogue import load_model

from SegDLTrainingLib.recipe_schema import check_against_schema

SCHEMA_NAME = "segdl-recipe-1"
SEGMENTATION, RESTORATION, SEMI_SUPERVISED = "segmentation", "restoration", "semi-supervised"
# The command that trains each task.
COMMANDS = {SEGMENTATION: "fit", RESTORATION: "pretrain", SEMI_SUPERVISED: "semi-supervised"}
Cards = dict[str, dict[str, Any]]
NOT_INHERITED = ("weights", "results", "training", "thumbnail")


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
    def needs_start(self) -> bool:
        """True if it goes on from the weights of another training, without which it is refused."""
        return bool(self.data.get("transfer"))

    @property
    def seed(self) -> int:
        return int(self.data["seed"])

    @property
    def published(self) -> list[dict[str, Any]]:
        """The figures of the reports that this experiment repeats; one entry for each table."""
        return published_entries(self.data)

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
        free = ("id", "title", "report", "choices", "extends", "schema", "published")
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


def published_entries(described: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What stands at "published" of a recipe, or of a package's training: nothing, one entry or several."""
    given = described.get("published") or []
    return [given] if isinstance(given, dict) else given


def list_recipes() -> list[Recipe]:
    """All shipped recipes by name."""
    cards: Cards = {}
    return [_load(path, (), cards) for path in _shipped_files()]


def load_recipe(name_or_path: str | Path) -> Recipe:
    """The recipe of a file, or a shipped one by name; raises InputError that names the missing part.

    What a recipe ``extends`` is a shipped recipe by name, or a file, beside the recipe's own if the path is
    relative.
    """
    return _load(_path_of(name_or_path, Path()), (), {})


def _load(path: Path, extending: tuple[Path, ...], cards: Cards) -> Recipe:
    """``extending``: the recipes that lead to this one; ``cards``: those that were read, by ``card.from``."""
    data = _read(path)
    if "extends" in data:
        base_path = _path_of(data["extends"], path.parent, f"The recipe {path}: extends: ")
        chain = (*extending, path.resolve())
        if base_path.resolve() in chain:
            raise InputError(f"The recipe {path}: extends: '{data['extends']}' leads back to itself.")
        base = _load(base_path, chain, cards).data
        other_card = "from" in data.get("card", {})
        data = {**_merged({**base, "card": {}} if other_card else base, data), **_alone(data)}
    data = _with_whole_card(data, path, cards)
    check_against_schema(data, path)
    check_card(data["card"], f"{path}:card")
    return Recipe(data)


def _path_of(name_or_path: str | Path, beside: Path, where: str = "") -> Path:
    path = beside / name_or_path
    shipped = [folder / f"{name_or_path}.json" for folder in recipe_folders()]
    for candidate in (path, *shipped):
        if candidate.is_file():
            return candidate
    near = difflib.get_close_matches(str(name_or_path), [path.stem for path in _shipped_files()], 3)
    meant = f"Perhaps {' or '.join(near)}? " if near else ""
    raise InputError(
        f"{where}There is no recipe '{name_or_path}'.",
        hint=f"{meant}segdl-train recipes lists the shipped ones; or give the path of a JSON file.",
    )


def _shipped_files() -> list[Path]:
    return [path for folder in recipe_folders() for path in sorted(folder.glob("*.json"))]


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"The recipe {path} cannot be read: {error}.", hint="It must be JSON in UTF-8."
        ) from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA_NAME:
        raise InputError(f"{path} is no recipe: its 'schema' is not '{SCHEMA_NAME}'.")
    for key, kind, name in (("extends", str, "text"), ("card", dict, "a table")):
        if key in data and not isinstance(data[key], kind):
            raise InputError(f"The recipe {path}: {key}: {json.dumps(data[key])} is not {name}.")
    return data


def _alone(data: Mapping[str, Any]) -> dict[str, Any]:
    """What is never merged: figures of another experiment must not stand beside those of this one."""
    return {"published": data.get("published")}


def _with_whole_card(data: dict[str, Any], path: Path, cards: Cards) -> dict[str, Any]:
    """The recipe with the card of ``card.from``, an installed model, and the recipe's changes to it.

    So the recipe of a report trains what its card runs; results and weights of that model are not taken.
    """
    changes = data.get("card")
    if not isinstance(changes, Mapping) or "from" not in changes:
        return data
    name = str(changes["from"])
    if name not in cards:
        try:
            whole = load_model(name, need_weights=False).card.data
        except ModelError as error:
            raise InputError(f"The recipe {path}: card.from: {error.text}", hint=error.hint) from error
        cards[name] = {key: value for key, value in whole.items() if key not in NOT_INHERITED}
    own = {key: value for key, value in changes.items() if key != "from"}
    return {**data, "card": _merged(cards[name], own)}


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the entries of ``changes``, table by table, but for tables that say ``replace``."""
    if changes.get("replace"):
        return {key: value for key, value in changes.items() if key != "replace"}
    merged = dict(base)
    for key, value in changes.items():
        earlier = base.get(key)
        inherited = earlier if isinstance(earlier, Mapping) else {}
        merged[key] = _merged(inherited, value) if isinstance(value, Mapping) else value
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
