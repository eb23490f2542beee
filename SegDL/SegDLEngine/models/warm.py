"""Models whose networks stay in memory from one job to the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SegDLEngine.models.catalogue import Model, load_model

if TYPE_CHECKING:
    from SegDLEngine.networks.network import Network

# Enough for every shipped model and for most ensembles of 3D networks, and little beside a volume.
WARM_BYTES = 512 * 2**20


@dataclass(frozen=True)
class WarmModel(Model):
    """A model whose networks are built once; whoever runs a network copies it before changing it."""

    _networks: WarmNetworks = field(compare=False, repr=False)

    def build(self, fold: int = 0) -> Network:
        return self._networks.get(self.folder, fold, super().build)


class WarmModels:
    """Models with their networks kept in memory, until a package changes on disk.

    ``limit``: bytes that the weights of all kept networks may take.
    """

    def __init__(self, limit: int = WARM_BYTES) -> None:
        self._kept: dict[Path, tuple[list[Any], WarmModel]] = {}
        self._networks = WarmNetworks(limit)

    def get(self, name: str) -> WarmModel:
        """The model of an id or path; raises ModelError."""
        model = load_model(name)
        stamps = _stamps(model.folder)
        if self._kept.get(model.folder, (None,))[0] != stamps:
            self._networks.forget(model.folder)
            self._kept[model.folder] = (stamps, WarmModel(model.card, model.folder, self._networks))
        return self._kept[model.folder][1]

    @property
    def held_bytes(self) -> int:
        """Bytes of the weights that are kept."""
        return self._networks.held_bytes


class WarmNetworks:
    """Networks by package and fold, with no more than ``limit`` bytes of weights.

    A new network takes the place of those of other packages, the longest unused first, but never of one of
    its own ensemble: an ensemble that runs from end to end would push each fold out just before its turn.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: dict[tuple[Path, int], tuple[Network, int]] = {}

    def get(self, folder: Path, fold: int, build: Callable[[int], Network]) -> Network:
        """The kept network, else a new one of ``build``, kept if there is room."""
        key = (folder, fold)
        if key in self._kept:
            # Taken out and put in again, it is the most recently used.
            self._kept[key] = self._kept.pop(key)
            return self._kept[key][0]
        network = build(fold)
        size = sum(value.nbytes for value in network.state_dict().values())
        self._make_room(size, folder)
        if self.held_bytes + size <= self._limit:
            self._kept[key] = (network, size)
        return network

    def forget(self, folder: Path) -> None:
        """Let the networks of a package go."""
        for key in [key for key in self._kept if key[0] == folder]:
            del self._kept[key]

    @property
    def held_bytes(self) -> int:
        return sum(size for _, size in self._kept.values())

    def _make_room(self, size: int, folder: Path) -> None:
        for key in [key for key in self._kept if key[0] != folder]:
            if self.held_bytes + size <= self._limit:
                return
            del self._kept[key]


def _stamps(folder: Path) -> list[Any]:
    """Name, size and time of the files of a package; they change when somebody replaces it."""
    files = sorted(folder.iterdir()) if folder.is_dir() else [folder]
    return [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
