"""The models on this computer: those shipped with SegDL and those the user installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SegDLEngine.errors import ModelError
from SegDLEngine.models import package
from SegDLEngine.models.card import CARD_FILE, ModelCard, card_row

if TYPE_CHECKING:
    from SegDLEngine.networks.network import Network

SHIPPED_FOLDER = Path(__file__).with_name("shipped")


@dataclass(frozen=True)
class Model:
    """A model package on disk: its ``card`` and ``folder`` (or zip file)."""

    card: ModelCard
    folder: Path

    @property
    def id(self) -> str:
        return self.card.id

    @property
    def sha256(self) -> str:
        """SHA-256 of the weights as the card states it, see ``ModelCard.sha256``."""
        return self.card.sha256

    @property
    def shipped(self) -> bool:
        return self.folder.parent == SHIPPED_FOLDER

    @property
    def installed(self) -> bool:
        """True if the weights are here."""
        files = self.card.weight_files
        if not files:
            return False
        return not self.folder.is_dir() or all((self.folder / entry["file"]).is_file() for entry in files)

    def row(self) -> dict[str, Any]:
        """The row of ``segdl models list --json``."""
        return card_row(self.card, self.installed)

    def build(self, fold: int = 0) -> Network:
        """The network in evaluation mode with its float32 weights on the CPU, a new one at each call.

        ``fold``: which of the weights of an ensemble.  The weights' SHA-256 is checked on the very bytes that
        are loaded; raises ModelError.
        """
        from SegDLEngine.models.weights import build_with_weights

        return build_with_weights(self.card, package.read_weights(self.folder, self.card, fold))

    def structure(self) -> Network:
        """The network without memory for its weights, to ask for its sizes."""
        from SegDLEngine.networks.registry import build_empty

        return build_empty(self.card.network["name"], self.card.network["options"], "meta")

    def networks(self) -> Iterator[Network]:
        """The networks whose mean is the prediction, built one by one: a single one, or all folds."""
        for fold in range(len(self.card.weight_files)):
            yield self.build(fold)


Problem = Callable[[Path, ModelError], None]


def list_models(problem: Problem | None = None) -> list[Model]:
    """All models, by id; a model that the user installed hides the shipped one of the same id.

    A broken package does not hide the others: it is left out and told to ``problem``.
    """
    models = {**_models_in(SHIPPED_FOLDER, problem), **_models_in(package.user_models_folder(), problem)}
    return [models[name] for name in sorted(models)]


def _models_in(root: Path, problem: Problem | None) -> dict[str, Model]:
    """The models in a folder of packages by their ids."""
    models: dict[str, Model] = {}
    for card_path in sorted(root.glob(f"*/{CARD_FILE}")):
        folder = card_path.parent
        if folder.name.startswith("."):
            continue
        try:
            model = Model(package.read_card(folder), folder)
        except ModelError as error:
            if problem is not None:
                problem(folder, error)
            continue
        models[model.id] = model
    return models


def load_model(model: str | Path | Model, *, need_weights: bool = True) -> Model:
    """The model of an id, of a package folder, zip or ``model.json``, or the given one itself.

    Raises ModelError when there is none, when its package is broken, or, with ``need_weights``, when its
    weights are not installed.
    """
    found = model if isinstance(model, Model) else _find(model)
    if need_weights and not found.installed:
        raise package.missing_weights(found.card)
    return found


def _find(name: str | Path) -> Model:
    name = str(name)
    problems: dict[str, ModelError] = {}
    own = _models_in(
        package.user_models_folder(), lambda folder, error: problems.update({folder.name: error})
    )
    if name in own:
        return own[name]
    # A shipped model lies in a folder of its id: no other card need be read.
    for card_path in SHIPPED_FOLDER.glob(f"*/{CARD_FILE}"):
        if card_path.parent.name == name:
            return Model(package.read_card(card_path.parent), card_path.parent)
    if name in problems:
        raise problems[name]
    path = Path(name)
    if path.name == CARD_FILE:
        path = path.parent
    if path.exists():
        return Model(package.read_card(path), path.resolve())
    known = ", ".join(model.id for model in list_models()) or "none"
    raise ModelError(
        f"There is no model '{name}'.",
        hint=f"Known models: {known}; or give a package folder or zip.",
    )
