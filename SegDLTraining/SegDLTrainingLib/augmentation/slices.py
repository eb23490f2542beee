"""Paired augmentation of slices and labels: one random geometry for both, grey values of the slices only.

Report 001: shifts of 10 % of width and height, rotation by 10 degrees, zoom by 10 % in each direction,
bilinear, nearest value outside; image and mask share the seed.  Each label's mask is interpolated like the
image and the likeliest label is taken, so that labels stay labels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from SegDLEngine.errors import InputError
from torch.nn import functional

from SegDLTrainingLib.augmentation.registry import Pair, augmentation
from SegDLTrainingLib.draws import Draws

# Prepared slices are stored in half precision.
ROUNDING = 1e-3


@dataclass(frozen=True)
class SliceAugmentation:
    """Ranges are symmetric: a value of 0.1 means uniform in [-0.1, 0.1].

    - ``shift``, ``zoom``: share of width and height, drawn for both axes apart; ``rotation_deg``;
    - ``mirror``: chance of a left-right flip;
    - ``window``: chance that all but a random rectangle becomes air, as in a cropped scan;
    - ``gain``, ``offset``: change of the soft tissue and of the lung's grey values (0..1 scale);
    - ``noise``: largest standard deviation of added white noise;
    - ``smooth``: chance of a 3x3 smoothing.

    The last four are for slices in 0..1, and are 0 by default; shapes alone change slices of any range.
    """

    shift: float = 0.1
    rotation_deg: float = 10.0
    zoom: float = 0.1
    mirror: float = 0.5
    window: float = 0.0
    gain: float = 0.0
    offset: float = 0.0
    noise: float = 0.0
    smooth: float = 0.0

    def sampling_grid(self, shape: torch.Size, draws: Draws) -> torch.Tensor:
        """Random shift, turn, zoom and mirror of slices (N, C, j, i), as ``grid_sample`` takes it."""
        count, (rows, columns) = shape[0], shape[-2:]
        angle = draws.uniform(-1, 1) * math.radians(self.rotation_deg)
        zoom_i, zoom_j = (draws.uniform(-self.zoom, self.zoom) for _ in range(2))
        shift_i, shift_j = (2 * draws.uniform(-self.shift, self.shift) for _ in range(2))
        flip = torch.where(draws.chance(self.mirror), -1.0, 1.0)
        cosine, sine, aspect = torch.cos(angle), torch.sin(angle), rows / columns
        matrix = torch.stack(
            [
                torch.stack([flip * cosine * (1 + zoom_i), -sine * aspect * (1 + zoom_j), shift_i], dim=1),
                torch.stack([flip * sine / aspect * (1 + zoom_i), cosine * (1 + zoom_j), shift_j], dim=1),
            ],
            dim=1,
        )
        return functional.affine_grid(matrix, [count, 1, rows, columns], align_corners=False)

    def grey_values(self, images: torch.Tensor, draws: Draws) -> torch.Tensor:
        """Jitter contrast, brightness, noise and sharpness of (N, C, j, i) in 0..1; air (0) stays air.

        Raises InputError for slices of another range.
        """
        low, high = float(images.min()), float(images.max())
        if low < 0 or high > 1 + ROUNDING:
            raise InputError(
                f"The recipe's augmentation 'slices' changes grey values, but they reach from {low:g} to "
                f"{high:g}, outside 0 to 1.",
                hint="Let the card's preprocessing end with the step 'scale', or leave out gain, offset, "
                "noise and smooth.",
            )
        air = images <= 0
        if self.smooth:
            soft = functional.avg_pool2d(functional.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
            share = draws.chance(self.smooth, 1, 1, 1) * draws.uniform(0, 1, 1, 1, 1)
            images = images + share * (soft - images)
        gain = 1 + draws.uniform(-self.gain, self.gain, 1, 1, 1)
        images = (images * gain).add_(draws.uniform(-self.offset, self.offset, 1, 1, 1))
        if self.noise:
            level = draws.uniform(0, 1, 1, 1, 1) ** 2 * self.noise
            images.add_(draws.normal(*images.shape[1:]).mul_(level))
        return images.clamp_(0, 1).masked_fill_(air, 0.0)

    def windows(self, shape: torch.Size, draws: Draws) -> torch.Tensor:
        """bool (N, j, i), true in the part that stays; all true for most slices."""
        rows, columns = shape[-2:]
        keep = torch.ones(len(draws), rows, columns, dtype=torch.bool)
        for number, (chance, *where) in enumerate(draws.uniform(0, 1, 5).tolist()):
            if chance >= self.window:
                continue
            size = [
                int(length * (0.35 + 0.5 * part))
                for length, part in zip((rows, columns), where[:2], strict=True)
            ]
            start = [
                int((length - part) * at)
                for length, part, at in zip((rows, columns), size, where[2:], strict=True)
            ]
            keep[number] = False
            keep[number, start[0] : start[0] + size[0], start[1] : start[1] + size[1]] = True
        return keep

    def __call__(self, images: torch.Tensor, labels: torch.Tensor, draws: Draws) -> Pair:
        """Augmented slices (N, C, j, i) and labels (N, j, i)."""
        grid = self.sampling_grid(images.shape, draws)
        images, labels = sample(images, grid), sample_labels(labels, grid)
        if self.gain or self.offset or self.noise or self.smooth:
            images = self.grey_values(images, draws)
        keep = self.windows(images.shape, draws)
        return images.mul_(keep[:, None].float()), labels * keep


def sample(images: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Linear interpolation with the nearest value outside."""
    return functional.grid_sample(
        images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False
    )


def sample_labels(labels: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """The label whose interpolated mask is largest; of equals with the background, the label."""
    values = [value for value in torch.bincount(labels.flatten()).nonzero().flatten().tolist() if value]
    if not values:
        return labels
    masks = sample(torch.stack([labels == value for value in values], dim=1).float(), grid)
    if len(values) == 1:
        return (masks[:, 0] >= 0.5).to(labels.dtype) * values[0]
    share, best = masks.max(dim=1)
    found = torch.tensor(values, dtype=labels.dtype)[best]
    return torch.where(share >= 1 - masks.sum(dim=1), found, torch.zeros_like(found))


@augmentation("slices", dimensions=(2,))
def slices(images: torch.Tensor, labels: torch.Tensor, draws: Draws, **constants: float) -> Pair:
    """Report 001, see ``SliceAugmentation``."""
    return SliceAugmentation(**constants)(images, labels, draws)
