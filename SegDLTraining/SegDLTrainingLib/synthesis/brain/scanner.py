"""What an MR scanner and the usual processing add: slices, bias field, noise, an arbitrary scale."""

from __future__ import annotations

import numpy as np

from SegDLTrainingLib.synthesis.scanner import blur_slices, gaussian
from SegDLTrainingLib.synthesis.space import smooth_field


def scan(
    volume: np.ndarray, mask: np.ndarray, spacing: tuple[float, float, float], rng: np.random.Generator
) -> np.ndarray:
    """The volume (k, j, i) as a skull-stripped image: int16 in arbitrary units, 0 outside ``mask``."""
    shape = volume.shape
    axis = int(rng.choice(3, p=[0.7, 0.15, 0.15]))
    thickness = float(rng.choice([1.0, 3.0, 5.0, 6.0], p=[0.5, 0.2, 0.2, 0.1]))
    turned = np.moveaxis(volume, axis, 0)
    volume = np.moveaxis(blur_slices(turned, thickness, spacing[2 - axis]), 0, axis)
    if rng.random() < 0.5:
        volume = gaussian(volume, spacing, (rng.uniform(0.3, 1.2),) * 3)
    volume = np.clip(volume, 0.02, None) ** np.float32(rng.uniform(0.85, 1.2))
    volume = volume * np.exp(rng.uniform(0, 0.16) * smooth_field(shape, spacing, rng.uniform(50, 110), rng))
    noise = rng.standard_normal(shape, dtype=np.float32)
    if rng.random() < 0.5:
        noise = gaussian(noise, spacing, (rng.uniform(0.6, 1.4),) * 3)
        noise /= max(float(noise.std()), 1e-6)
    volume = volume + float(np.exp(rng.uniform(np.log(0.005), np.log(0.06)))) * noise
    level = float(np.exp(rng.uniform(np.log(200), np.log(1500))))
    # Zero means "outside the brain"; no value of the brain may be taken for it.
    return np.where(mask, np.clip(np.rint(volume * level), 1, 32767), 0).astype(np.int16)
