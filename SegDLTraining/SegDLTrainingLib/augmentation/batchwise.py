"""Changes that are the same for all slices of a batch, report 004."""

from __future__ import annotations

import torch

from SegDLTrainingLib.augmentation.registry import Pair, augmentation
from SegDLTrainingLib.draws import Draws

MOST_PATCHES = 5


@augmentation("batch_noise")
def batch_noise(
    images: torch.Tensor,
    labels: torch.Tensor,
    draws: Draws,
    chance: float = 0.2,
    mean: float = 0.05,
    std: float = 0.1,
) -> Pair:
    """With this chance add Gaussian noise to all images.  The report calls the deviation 0.1 a variance."""
    if float(draws.common(1)) >= chance:
        return images, labels
    return images + mean + std * draws.normal(*images.shape[1:]), labels


@augmentation("batch_flip")
def batch_flip(images: torch.Tensor, labels: torch.Tensor, draws: Draws, chance: float = 0.25) -> Pair:
    """Mirror all images along i, and along j, each with this chance.

    The report's code mirrors the order of the batch instead of j, which changes nothing.
    """
    for axis, number in zip((-1, -2), draws.common(2).tolist(), strict=True):
        if number < chance:
            images, labels = images.flip(axis), labels.flip(axis)
    return images, labels


@augmentation("batch_patches")
def batch_patches(
    images: torch.Tensor,
    labels: torch.Tensor,
    draws: Draws,
    chance: float = 0.4,
    low: float = 0.1,
    high: float = 0.2,
) -> Pair:
    """With this chance set one to five rectangles of all images to 0, all channels; labels stay.

    Each side is a random share, ``low`` to ``high``, of the image's.
    """
    draw, number = draws.common(2).tolist()
    where = draws.common(MOST_PATCHES, 4).tolist()
    if draw >= chance:
        return images, labels
    images = images.clone()
    rows, columns = images.shape[-2:]
    for top, left, tall, wide in where[: 1 + int(number * MOST_PATCHES)]:
        height = max(int(rows * (low + (high - low) * tall)), 1)
        width = max(int(columns * (low + (high - low) * wide)), 1)
        row, column = int(top * (rows - height + 1)), int(left * (columns - width + 1))
        images[..., row : row + height, column : column + width] = 0
    return images, labels
