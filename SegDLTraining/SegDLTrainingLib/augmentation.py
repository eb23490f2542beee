"""Paired augmentation of slices and masks: one random geometry for both, grey values of the slices only.

Report 001: shifts of 10 % of width and height, rotation by 10 degrees, zoom by 10 % in each direction,
bilinear, nearest value outside; image and mask share the seed.  The mask is interpolated like the image and
cut at 0.5, so that it stays binary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional


@dataclass(frozen=True)
class Augmentation:
    """Ranges are symmetric: a value of 0.1 means uniform in [-0.1, 0.1].

    - ``shift``, ``zoom``: share of width and height, drawn for both axes apart; ``rotation_deg``;
    - ``mirror``: chance of a left-right flip;
    - ``window``: chance that all but a random rectangle becomes air, as in a cropped scan;
    - ``gain``, ``offset``: change of the soft tissue and of the lung's grey values (0..1 scale);
    - ``noise``: largest standard deviation of added white noise;
    - ``smooth``: chance of a 3x3 smoothing.
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

    def geometry(
        self, images: torch.Tensor, generator: torch.Generator, padding: str = "border"
    ) -> torch.Tensor:
        """Shift, turn, zoom and mirror (N, C, j, i); the same generator state gives the same geometry."""
        count, _, rows, columns = images.shape

        def draw(limit: float) -> torch.Tensor:
            return (torch.rand(count, generator=generator) * 2 - 1) * limit

        angle, zoom_i, zoom_j = draw(math.radians(self.rotation_deg)), draw(self.zoom), draw(self.zoom)
        shift_i, shift_j = draw(2 * self.shift), draw(2 * self.shift)
        flip = torch.where(torch.rand(count, generator=generator) < self.mirror, -1.0, 1.0)
        cosine, sine, aspect = torch.cos(angle), torch.sin(angle), rows / columns
        matrix = torch.stack(
            [
                torch.stack([flip * cosine * (1 + zoom_i), -sine * aspect * (1 + zoom_j), shift_i], dim=1),
                torch.stack([flip * sine / aspect * (1 + zoom_i), cosine * (1 + zoom_j), shift_j], dim=1),
            ],
            dim=1,
        )
        grid = functional.affine_grid(matrix, [count, 1, rows, columns], align_corners=False)
        return functional.grid_sample(
            images.float(), grid, mode="bilinear", padding_mode=padding, align_corners=False
        )

    def grey_values(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Jitter contrast, brightness, noise and sharpness of (N, C, j, i) in 0..1; air (0) stays air."""
        count = images.shape[0]

        def draw(*shape: int) -> torch.Tensor:
            return torch.rand(count, *shape, generator=generator)

        air = images <= 0
        if self.smooth:
            soft = functional.avg_pool2d(functional.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
            share = (draw(1, 1, 1) < self.smooth) * draw(1, 1, 1)
            images = images + share * (soft - images)
        gain = 1 + (draw(1, 1, 1) * 2 - 1) * self.gain
        images = images * gain + (draw(1, 1, 1) * 2 - 1) * self.offset
        if self.noise:
            level = draw(1, 1, 1) ** 2 * self.noise
            images = images + level * torch.randn(images.shape, generator=generator)
        return images.clamp(0, 1).masked_fill(air, 0.0)

    def windows(self, shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
        """Masks (N, 1, j, i) of 1 in the part that stays; all ones for most slices."""
        count, _, rows, columns = shape
        keep = torch.ones(count, 1, rows, columns)
        for number in range(count):
            chance, *where = torch.rand(5, generator=generator).tolist()
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
            inside = torch.zeros(rows, columns)
            inside[start[0] : start[0] + size[0], start[1] : start[1] + size[1]] = 1
            keep[number, 0] = inside
        return keep

    def __call__(
        self, images: torch.Tensor, masks: torch.Tensor, seed: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Augmented slices (N, C, j, i) in 0..1 and binary masks (N, L, j, i)."""
        geometry_seed, grey_seed = 2 * seed, 2 * seed + 1
        images = self.geometry(images, torch.Generator().manual_seed(geometry_seed))
        masks = self.geometry(masks, torch.Generator().manual_seed(geometry_seed))
        generator = torch.Generator().manual_seed(grey_seed)
        images = self.grey_values(images, generator)
        keep = self.windows(images.shape, generator)
        return images * keep, ((masks * keep) >= 0.5).float()
