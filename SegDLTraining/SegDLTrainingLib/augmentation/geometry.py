"""Flips, rotations and zooms of patches and slices together with their labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from SegDLEngine.errors import InputError
from torch.nn import functional

from SegDLTrainingLib.augmentation.registry import Pair, augmentation
from SegDLTrainingLib.draws import Draws


@augmentation("flip")
def flip(
    images: torch.Tensor,
    labels: torch.Tensor,
    draws: Draws,
    axes: Sequence[str] | None = None,
    chance: float = 0.5,
) -> Pair:
    """Mirror each row along each of ``axes`` ("i", "j", "k"; all by default) with this chance."""
    known = "ijk"[: images.dim() - 2]
    for axis in known if axes is None else axes:
        if axis not in known:
            raise InputError(
                f"The recipe's augmentation 'flip': the images have no axis '{axis}'.",
                hint=f"Their axes: {', '.join(known)}.",
            )
        mirrored = draws.chance(chance)
        number = -1 - known.index(axis)
        for row in torch.nonzero(mirrored).flatten().tolist():
            images[row] = images[row].flip(number)
            labels[row] = labels[row].flip(number)
    return images, labels


@augmentation("affine", dimensions=(3,))
def affine(
    images: torch.Tensor,
    labels: torch.Tensor,
    draws: Draws,
    rotation_deg: Sequence[float] = (0.0, 0.0, 10.0),
    zoom: float = 0.1,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    chance: float = 1.0,
) -> Pair:
    """Turn patches (N, C, k, j, i) by up to ``rotation_deg`` about the axes i, j and k and zoom them.

    Images are interpolated linearly, labels take the nearest voxel; outside the patch its border continues.
    ``spacing`` (i, j, k): the voxel's sides, so that rotations keep shapes.
    """
    chosen = draws.chance(chance)
    angles = [draws.uniform(-1, 1) * math.radians(limit) for limit in rotation_deg]
    factor = 1 + draws.uniform(-zoom, zoom)
    if not chosen.any():
        return images, labels
    extent = [length * step for length, step in zip(images.shape[:1:-1], spacing, strict=True)]
    matrix = _rotation(angles) * factor[:, None, None]
    side = torch.tensor(extent)
    theta = torch.zeros(len(draws), 3, 4)
    theta[:, :, :3] = matrix * side[None, None, :] / side[None, :, None]
    theta = theta[chosen]
    grid = functional.affine_grid(theta, [len(theta), 1, *images.shape[2:]], align_corners=False)
    return warp(images, labels, chosen, grid)


def warp(images: torch.Tensor, labels: torch.Tensor, chosen: torch.Tensor, grid: torch.Tensor) -> Pair:
    """The ``chosen`` rows read at the points of ``grid`` (one for each of them), changed in place.

    Images linearly, labels from the nearest voxel; beyond the image its border continues.
    """
    images[chosen] = functional.grid_sample(
        images[chosen], grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    moved = functional.grid_sample(
        labels[chosen][:, None].float(), grid, mode="nearest", padding_mode="border", align_corners=False
    )
    labels[chosen] = moved[:, 0].to(labels.dtype)
    return images, labels


def _rotation(angles: Sequence[torch.Tensor]) -> torch.Tensor:
    """Rotation matrices (N, 3, 3) in the order x, y, z."""
    whole = torch.eye(3).expand(len(angles[0]), 3, 3)
    for axis, angle in enumerate(angles):
        one, other = (axis + 1) % 3, (axis + 2) % 3
        turn = torch.eye(3).repeat(len(angle), 1, 1)
        turn[:, one, one] = turn[:, other, other] = torch.cos(angle)
        turn[:, one, other], turn[:, other, one] = -torch.sin(angle), torch.sin(angle)
        whole = turn @ whole
    return whole
