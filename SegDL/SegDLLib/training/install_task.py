"""A finished package into the model list; in a process of its own because checking it needs PyTorch."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import slicer
from SegDLEngine.errors import InputError, SegDLError
from SegDLEngine.models.card import CARD_FILE, ModelCard
from SegDLEngine.models.catalogue import Model, list_models
from SegDLEngine.models.package import read_card

from SegDLLib.training.task import ProcessTask


class InstallTask(ProcessTask):
    """Result: the id under which the model is in the list.

    A model that is there with other weights is not replaced: the new one is listed under the name of its
    folder, unless that is what an earlier training into this folder was listed under.
    """

    def __init__(self, process: Any, package: Path):
        super().__init__(process)
        self._package = package
        self._folder: Path | None = None
        self._id = ""

    def start(self) -> None:
        card = read_card(self._package)
        self._id = idInList(card, self._package.name, {model.id: model for model in list_models()})
        self._folder = Path(tempfile.mkdtemp(prefix="SegDL-", dir=slicer.app.temporaryPath))
        try:
            if self._id != card.id:
                self._package = _renamed(self._package, card, self._id, self._folder)
            super().start()
        except OSError as error:
            self.discard()
            raise SegDLError(f"The package cannot be copied: {error}.") from error

    def discard(self) -> None:
        super().discard()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _words(self) -> Sequence[str]:
        return ["SegDLEngine", "models", "install", str(self._package), "--replace"]

    def _outcome(self, error: SegDLError | None) -> Any:
        super()._outcome(error)
        return self._id


def idInList(card: ModelCard, folderName: str, models: dict[str, Model]) -> str:
    """The id to install a trained package under; raises InputError when its folder's name is taken."""
    own = models.get(card.id)
    if own is None or not own.installed or own.card.weights == card.weights:
        return card.id
    identifier = re.sub(r"[^a-z0-9]+", "-", folderName.lower()).strip("-")[:64] or "trained"
    other = models.get(identifier)
    if other is None or (not other.shipped and other.card.data["training"].get("recipe") == _recipe(card)):
        return identifier
    raise InputError(
        f"There is another model '{identifier}' in the list.",
        hint="Rename the folder of the package, or remove that model.",
    )


def _recipe(card: ModelCard) -> Any:
    return card.data["training"].get("recipe")


def _renamed(package: Path, card: ModelCard, identifier: str, folder: Path) -> Path:
    """A copy of the package with another id, and a title that tells it from the first."""
    copy = folder / identifier
    shutil.copytree(package, copy)
    data = {**card.data, "id": identifier, "title": f"{card.title} ({package.name})"}
    (copy / CARD_FILE).write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return copy
