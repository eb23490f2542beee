"""Smooth random displacements of slices, report 003."""

from __future__ import annotations

import torch
from torch.nn import functional

from SegDLTrainingLib.augmentation.geometry import warp
from SegDLTrainingLib.augmentation.registry import Pair, augmentation
from SegDLTrainingLib.draws import Draws


@augmentation("elastic", dimensions=(2,))
def elastic(
    images: torch.Tensor,
    labels: torch.Tensor,
    draws: Draws,
    points: int = 4,
    sigma: float = 2.5,
    rotation_deg: float = 0.0,
    chance: float = 1.0,
) -> Pair:
    """Displace ``points`` x ``points`` control points by Gaussian offsets of ``sigma`` pixels, and turn.

    For slices (N, C, j, i); bicubic between the points, bilinear images, labels of the nearest pixel, the
    border continues outside.  The report gives the rotation (3 degrees) but no size of the displacement;
    points and sigma are ours.
    """
    count, _, rows, columns = images.shape
    chosen = draws.chance(chance)
    offsets = draws.normal(2, points, points) * sigma
    angle = torch.deg2rad(draws.uniform(-rotation_deg, rotation_deg))
    if not chosen.any():
        return images, labels
    sizes = torch.tensor([columns, rows]) / 2
    field = functional.interpolate(offsets, (rows, columns), mode="bicubic", align_corners=True)
    field = field.permute(0, 2, 3, 1) / sizes
    cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros(count)
    matrix = torch.stack(
        [cosine, -sine * rows / columns, zero, sine * columns / rows, cosine, zero], dim=1
    ).view(count, 2, 3)
    grid = functional.affine_grid(matrix, [count, 1, rows, columns], align_corners=False) + field
    return warp(images, labels, chosen, grid[chosen])
