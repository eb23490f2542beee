"""What a network's layers answer to a batch, as (channels, points) arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from SegDLEngine.errors import InputError
from torch import nn
from torch.nn import functional

CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def convolution_layers(network: nn.Module) -> list[str]:
    """Names of all convolutions, in the order of the network's definition."""
    return [name for name, module in network.named_modules() if isinstance(module, CONVOLUTIONS)]


@torch.no_grad()
def layer_maps(
    network: nn.Module, images: torch.Tensor, layers: Sequence[str] | None = None
) -> dict[str, torch.Tensor]:
    """Outputs (N, channels, ...) of ``layers``, by default all convolutions, in evaluation mode.

    A layer that runs several times (recurrent ones) keeps its last output; one that does not run is left out.
    Raises InputError for a layer that the network does not have.
    """
    modules = dict(network.named_modules())
    names = convolution_layers(network) if layers is None else list(layers)
    for name in names:
        if name not in modules:
            raise InputError(
                f"The network has no layer '{name}'.",
                hint=f"Its layers: {', '.join(convolution_layers(network)[:8])}, ...",
            )
    found: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, object, torch.Tensor], None]:
        def hook(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
            found[name] = output.detach().float().cpu()

        return hook

    handles = [modules[name].register_forward_hook(keep(name)) for name in names]
    training = network.training
    try:
        network.eval()(images)
    finally:
        network.train(training)
        for handle in handles:
            handle.remove()
    return {name: found[name] for name in names if name in found}


def paired_points(
    first: torch.Tensor, second: torch.Tensor, most_points: int = 20000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Both maps (N, C, ...) as (channels, points) float64 over the same points.

    The finer map is averaged down to the grid of the coarser one.  Of more than ``most_points`` voxels a
    seeded random choice is taken, the same in both.
    """
    size = [min(pair) for pair in zip(first.shape[2:], second.shape[2:], strict=True)]
    folded = [_fold(_shrink(maps, size)) for maps in (first, second)]
    if folded[0].shape[1] != folded[1].shape[1]:
        raise InputError(
            f"The layers answered to {len(first)} and {len(second)} images.", hint="Use the same images."
        )
    count = folded[0].shape[1]
    if count > most_points:
        chosen = np.random.default_rng(seed).choice(count, most_points, replace=False)
        folded = [maps[:, chosen] for maps in folded]
    return folded[0], folded[1]


def _shrink(maps: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    if list(maps.shape[2:]) == list(size):
        return maps
    pool = functional.adaptive_avg_pool2d if maps.dim() == 4 else functional.adaptive_avg_pool3d
    return pool(maps, tuple(size))  # type: ignore[arg-type]


def _fold(maps: torch.Tensor) -> np.ndarray:
    return maps.transpose(0, 1).reshape(maps.shape[1], -1).double().numpy()
