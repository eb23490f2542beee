"""Rotations in single planes and the flips that go with them, as reports 000 and 002 have them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from SegDLEngine.errors import InputError
from torch.nn import functional

from SegDLTrainingLib.augmentation.registry import Pair, augmentation
from SegDLTrainingLib.draws import Draws

Outside = float | str | Sequence[float | str]


def rotate_about(
    maps: torch.Tensor, axis: str, degrees: float, mode: str = "bilinear", padding: str = "zeros"
) -> torch.Tensor:
    """Turn (C, k, j, i) or (C, j, i) about the axis "i", "j" or "k" through its middle; voxels are cubes."""
    flat = maps.dim() == 3
    volume = maps[:, None] if flat else maps
    about = {"k": 1, "j": 2, "i": 3}[axis]
    planes = volume.movedim(about, 0)
    rows, columns = planes.shape[-2:]
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrix = torch.tensor([[cosine, -sine * rows / columns, 0.0], [sine * columns / rows, cosine, 0.0]])
    grid = functional.affine_grid(
        matrix[None].expand(len(planes), 2, 3), [len(planes), 1, rows, columns], align_corners=False
    )
    turned = functional.grid_sample(planes, grid, mode=mode, padding_mode=padding, align_corners=False)
    turned = turned.movedim(0, about)
    return turned[:, 0] if flat else turned


@augmentation("plane_rotations")
def plane_rotations(
    images: torch.Tensor,
    labels: torch.Tensor,
    draws: Draws,
    chance: float = 0.5,
    largest_deg: int = 44,
    outside: Outside = 0.0,
) -> Pair:
    """Report 000: turn about one to three axes, none twice, by whole degrees, ``largest_deg`` at most.

    Images linearly, labels to the nearest voxel.  ``outside``: what comes in at the corners, one value or one
    for each channel, a number or "minimum", the channel's smallest value in the patch.  The report turns
    before it normalises and fills with 0: water in CT and no activity in PET, so 0 and "minimum" here.
    """
    axes = _axes(images)
    chosen, numbers = draws.chance(chance), draws.uniform(0, 1, 1 + 3 * len(axes))
    for row in torch.nonzero(chosen).flatten().tolist():
        count, *rest = numbers[row].tolist()
        order = torch.tensor(rest[: len(axes)]).argsort().tolist()
        for place in order[: 1 + int(count * len(axes))]:
            degrees = int(rest[len(axes) + place] * (largest_deg + 1))
            sign = 1 if rest[2 * len(axes) + place] < 0.5 else -1
            images[row], labels[row] = _turn(images[row], labels[row], axes[place], sign * degrees, outside)
    return images, labels


@augmentation("mirroring")
def mirroring(images: torch.Tensor, labels: torch.Tensor, draws: Draws, chance: float = 0.5) -> Pair:
    """Report 000: with this chance mirror along none to all axes, their number drawn first.

    In 3D a patch is changed with a chance of 0.375 by default.
    """
    axes = _all_axes(images)
    chosen, numbers = draws.chance(chance), draws.uniform(0, 1, 1 + len(axes))
    for row in torch.nonzero(chosen).flatten().tolist():
        count, *rest = numbers[row].tolist()
        order = torch.tensor(rest).argsort().tolist()
        flipped = [-1 - number for number in order[: int(count * (len(axes) + 1))]]
        if flipped:
            images[row], labels[row] = images[row].flip(flipped), labels[row].flip(flipped)
    return images, labels


@augmentation("flip_or_turn")
def flip_or_turn(images: torch.Tensor, labels: torch.Tensor, draws: Draws, outside: Outside = 0.0) -> Pair:
    """Report 002: apply one of nothing, a flip or a full rotation, then another unless it is the same.

    A flip takes one random axis; a rotation a random plane and any angle, images by cubic interpolation and
    labels by that of their maps, where the largest map wins.  ``outside`` as for "plane_rotations": the
    report's images are not normalised and 0 is their background, "minimum" in normalised ones.
    """
    turning, flipping = _axes(images), _all_axes(images)
    numbers = draws.uniform(0, 1, 8)
    for row in range(len(images)):
        first, second, *rest = numbers[row].tolist()
        kinds = [int(first * 3), int(second * 3)]
        for place, kind in enumerate(kinds if kinds[0] != kinds[1] else kinds[:1]):
            where, angle = rest[2 * place], rest[2 * place + 1]
            if kind == 1:
                mirrored = -1 - int(where * len(flipping))
                images[row], labels[row] = images[row].flip(mirrored), labels[row].flip(mirrored)
            elif kind == 2:
                axis = turning[int(where * len(turning))]
                images[row] = _turn_image(images[row], axis, 360 * angle, outside, "bicubic")
                labels[row] = _turn_maps(labels[row], axis, 360 * angle)
    return images, labels


def _turn(image: torch.Tensor, labels: torch.Tensor, axis: str, degrees: float, outside: Outside) -> Pair:
    turned = rotate_about(labels[None].float(), axis, degrees, "nearest")[0]
    return _turn_image(image, axis, degrees, outside), turned.to(labels.dtype)


def _turn_image(
    image: torch.Tensor, axis: str, degrees: float, outside: Outside, mode: str = "bilinear"
) -> torch.Tensor:
    """``rotate_about`` with ``outside`` beyond the image."""
    filled = _fill(image, outside)
    return rotate_about(image - filled, axis, degrees, mode) + filled


def _fill(image: torch.Tensor, outside: Outside) -> torch.Tensor:
    """The value outside of each channel, (C, 1, ...)."""
    wanted = [outside] * len(image) if isinstance(outside, float | int | str) else list(outside)
    if len(wanted) != len(image) or any(isinstance(one, str) and one != "minimum" for one in wanted):
        raise InputError(
            f"The recipe's augmentation: outside {outside} is not a number or 'minimum' for each of the "
            f"{len(image)} channels."
        )
    values = [
        float(channel.min() if one == "minimum" else one) for channel, one in zip(image, wanted, strict=True)
    ]
    return torch.tensor(values).view(-1, *(1,) * (image.dim() - 1))


def _turn_maps(labels: torch.Tensor, axis: str, degrees: float) -> torch.Tensor:
    """The label, or the background, whose map is largest after the turn; beyond the patch is background."""
    values = [value for value in labels.unique().tolist() if value]
    if not values:
        return labels
    maps = torch.stack([labels == value for value in values]).float()
    turned = rotate_about(maps, axis, degrees, "bicubic")
    best, which = turned.max(dim=0)
    lookup = torch.tensor(values, dtype=labels.dtype)
    background = 1 - turned.sum(dim=0)
    return torch.where(best > background, lookup[which], torch.zeros_like(labels))


def _axes(images: torch.Tensor) -> Sequence[str]:
    """Axes to turn about."""
    return ("k",) if images.dim() == 4 else ("i", "j", "k")


def _all_axes(images: torch.Tensor) -> Sequence[str]:
    return ("i", "j") if images.dim() == 4 else ("i", "j", "k")
