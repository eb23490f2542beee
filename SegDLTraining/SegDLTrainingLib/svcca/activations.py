"""What a network's layers answer to images, as (channels, points) arrays over chosen points.

Whole feature maps are never kept: of a network of report 003 those of forty slices of 512x512 pixels would
fill 60 GB.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from SegDLEngine.errors import InputError
from torch import nn
from torch.nn import functional

CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)

Grid = tuple[int, ...]


class Points:
    """At most ``most`` voxels of the maps of ``images`` images on one grid.

    Which ones follows from ``seed``, the grid and the number of images, so layers and networks are compared
    at the same points.
    """

    def __init__(self, images: int, grid: Sequence[int], most: int = 10000, seed: int = 0):
        self.grid = tuple(grid)
        each = math.prod(self.grid)
        count = images * each
        chosen = np.arange(count)
        if count > most:
            rng = np.random.default_rng([seed, *self.grid])
            chosen = np.sort(rng.choice(count, most, replace=False, shuffle=False))
        self.count = len(chosen)
        image, self._places = np.divmod(chosen, each)
        self._first = np.searchsorted(image, np.arange(images + 1))

    def put(self, number: int, maps: torch.Tensor, values: np.ndarray) -> None:
        """Write the points of image ``number`` into ``values`` (channels, count).

        Its ``maps`` (channels, ...) may be finer than the grid: they are averaged down to it.
        """
        if tuple(maps.shape[1:]) != self.grid:
            pool = functional.adaptive_avg_pool2d if maps.dim() == 3 else functional.adaptive_avg_pool3d
            maps = pool(maps[None], self.grid)[0]  # type: ignore[arg-type]
        mine = slice(self._first[number], self._first[number + 1])
        values[:, mine] = maps.flatten(1)[:, torch.from_numpy(self._places[mine])].numpy()


def convolution_layers(network: nn.Module) -> list[str]:
    """Names of all convolutions, in the order of the network's definition."""
    return [name for name, module in network.named_modules() if isinstance(module, CONVOLUTIONS)]


def layer_grids(
    network: nn.Module, images: torch.Tensor, layers: Sequence[str] | None = None
) -> dict[str, Grid]:
    """Sizes of the maps of ``layers``, by default all convolutions; a layer that does not run is left out.

    Raises InputError for a layer that the network does not have.
    """
    names = convolution_layers(network) if layers is None else list(layers)
    grids: dict[str, Grid] = {}

    def note(name: str, _number: int, maps: torch.Tensor) -> None:
        grids[name] = tuple(maps.shape[1:])

    _run(network, images[:1], names, note)
    return {name: grids[name] for name in names if name in grids}


def layer_points(
    network: nn.Module, images: torch.Tensor, wanted: Mapping[str, Points]
) -> dict[str, np.ndarray]:
    """(channels, points) float32 of layers, in evaluation mode, one image at a time.

    A layer that runs several times (recurrent ones) keeps its last output.
    """
    found: dict[str, np.ndarray] = {}

    def keep(name: str, number: int, maps: torch.Tensor) -> None:
        points = wanted[name]
        if name not in found:
            found[name] = np.empty((len(maps), points.count), np.float32)
        points.put(number, maps, found[name])

    _run(network, images, list(wanted), keep)
    return found


@torch.no_grad()
def _run(
    network: nn.Module, images: torch.Tensor, layers: Sequence[str],
    hear: Callable[[str, int, torch.Tensor], None],
) -> None:  # fmt: skip
    """``hear`` gets the name of a layer, the number of the image and its maps (channels, ...)."""
    modules = dict(network.named_modules())
    for name in layers:
        if name not in modules:
            raise InputError(
                f"The network has no layer '{name}'.",
                hint=f"Its layers: {', '.join(convolution_layers(network)[:8])}, ...",
            )
    at = 0

    def hook_of(name: str) -> Callable[[nn.Module, object, torch.Tensor], None]:
        def hook(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
            hear(name, at, output.detach()[0].float().cpu())

        return hook

    handles = [modules[name].register_forward_hook(hook_of(name)) for name in layers]
    training = network.training
    network.eval()
    try:
        for at in range(len(images)):
            network(images[at : at + 1])
    finally:
        network.train(training)
        for handle in handles:
            handle.remove()
