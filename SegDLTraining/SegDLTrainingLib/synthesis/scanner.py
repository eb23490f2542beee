"""What the scanner adds: slice thickness, reconstruction blur, correlated noise, streaks, rounding."""

from __future__ import annotations

import numpy as np
import SimpleITK

from SegDLTrainingLib.synthesis.space import Space


def scan(volume: np.ndarray, space: Space, rng: np.random.Generator) -> np.ndarray:
    """The volume (HU, (k, j, i)) as a scanner would show it; int16, -1024..3071."""
    spacing = space.grid.spacing
    thickness = rng.choice([1.0, 2.0, 3.0, 5.0, 7.0], p=[0.2, 0.25, 0.3, 0.2, 0.05])
    volume = blur_slices(volume, float(thickness), spacing[2])
    if rng.random() < 0.5:
        volume = gaussian(volume, spacing, (rng.uniform(0.4, 1.3),) * 2 + (0.0,))
    level = float(np.exp(rng.uniform(np.log(3), np.log(45))))
    if rng.random() < 0.25:
        volume = volume + _streaks(space, level, rng)
    volume = volume + grainy_noise(volume.shape, spacing, level, rng)
    return np.clip(np.rint(volume), -1024, 3071).astype(np.int16)


def blur_slices(volume: np.ndarray, thickness: float, step: float) -> np.ndarray:
    """Average neighbouring slices as a thicker slice would."""
    side = max(0.0, (thickness - step) / (2 * step))
    if side == 0:
        return volume
    weights = [min(1.0, side)] + ([side - 1] if side > 1 else [])
    total = volume.copy()
    for distance, weight in enumerate(weights, start=1):
        padded = np.pad(volume, ((distance, distance), (0, 0), (0, 0)), mode="edge")
        total += np.float32(weight) * (padded[: -2 * distance] + padded[2 * distance :])
    return total / np.float32(1 + 2 * sum(weights))


def gaussian(volume: np.ndarray, spacing: tuple[float, ...], sigma_mm: tuple[float, ...]) -> np.ndarray:
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(volume, dtype=np.float32))
    image.SetSpacing(spacing)
    variance = [max(sigma, 1e-3) ** 2 for sigma in sigma_mm]
    return SimpleITK.GetArrayFromImage(SimpleITK.DiscreteGaussian(image, variance, 8, 0.02, True))


def grainy_noise(
    shape: tuple[int, ...], spacing: tuple[float, ...], level: float, rng: np.random.Generator
) -> np.ndarray:
    """Noise of standard deviation ``level`` HU whose grain follows a random reconstruction kernel."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    grain = rng.uniform(0, 1.5)
    if grain > 0.5:
        noise = gaussian(noise, spacing, (grain, grain, 0.3))
    return noise * np.float32(level / max(float(noise.std()), 1e-6))


def _streaks(space: Space, level: float, rng: np.random.Generator) -> np.ndarray:
    """Horizontal streaks at the height of the shoulders, as photon starvation makes them."""
    rows = rng.standard_normal((space.grid.size[2], space.grid.size[1], 1), dtype=np.float32)
    amount = level * rng.uniform(0.3, 1.0) / (1 + np.exp(-(space.z - 70) / 12))
    return rows * amount
