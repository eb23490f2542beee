"""Models whose networks stay in memory from one job to the next."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SegDLEngine.models.catalogue import Model, load_model

if TYPE_CHECKING:
    from SegDLEngine.networks.network import Network


@dataclass(frozen=True)
class WarmModel(Model):
    """A model whose network is built once; whoever runs the network copies it before changing it.

    The networks of an ensemble would take several times the memory and are built when they are needed.
    """

    _built: list[Network] = field(default_factory=list, compare=False, repr=False)

    def build(self, fold: int = 0) -> Network:
        if len(self.card.weight_files) > 1:
            return super().build(fold)
        if not self._built:
            self._built.append(super().build())
        return self._built[0]


class WarmModels:
    """Models with their networks kept in memory, until a package changes on disk."""

    def __init__(self) -> None:
        self._kept: dict[Path, tuple[list[Any], WarmModel]] = {}

    def get(self, name: str) -> WarmModel:
        """The model of an id or path; raises ModelError."""
        model = load_model(name)
        stamps = _stamps(model.folder)
        if self._kept.get(model.folder, (None,))[0] != stamps:
            self._kept[model.folder] = (stamps, WarmModel(model.card, model.folder))
        return self._kept[model.folder][1]


def _stamps(folder: Path) -> list[Any]:
    """Name, size and time of the files of a package; they change when somebody replaces it."""
    files = sorted(folder.iterdir()) if folder.is_dir() else [folder]
    return [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
