"""What the two scanners make of the body: their grids, resolution, noise and a small misalignment."""

from __future__ import annotations

import numpy as np
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.images.resampling import resample

from SegDLTrainingLib.synthesis.petct.body import AIR_HU, Body
from SegDLTrainingLib.synthesis.scanner import gaussian, grainy_noise
from SegDLTrainingLib.synthesis.space import smooth_field

FWHM_TO_SIGMA = 1 / 2.3548
COUNTS_FLOOR = 0.08


def scan_ct(body: Body) -> Image:
    """CT (int16, HU) on its own grid: pixels 0.98 to 1.5 mm, slices 2 to 5 mm."""
    rng, grid = body.rng, body.space.grid
    pixel, step = rng.choice([0.98, 1.17, 1.37, 1.52]), rng.choice([2.0, 2.5, 3.0, 3.27, 3.27, 5.0])
    blurred = gaussian(body.ct, grid.spacing, (0.3, 0.3, 0.25 * step))
    target = _within(grid, (pixel, pixel, step), rng)
    values = resample(Image(blurred, grid), target, outside=AIR_HU).array
    level = float(np.exp(rng.uniform(np.log(4), np.log(40))))
    values = values + grainy_noise(values.shape, target.spacing, level, rng)
    if rng.random() < 0.3:
        # Streaks run along the rows: lengths of 60 mm there, single voxels across.
        streaks = smooth_field(values.shape, (pixel / 60, 1.0, 1.0), 1.0, rng)
        values = values + rng.uniform(0.4, 1.5) * level * (values > -600) * streaks
    values = np.clip(np.rint(values), -1000, 3071).astype(np.int16)
    return Image(values, target, modality="CT", unit="HU")


def scan_pet(body: Body) -> Image:
    """PET (float32, SUV) on its own coarser grid, 3 to 5.5 mm, resolution 5 to 7 mm, noise by counts."""
    rng, grid = body.rng, body.space.grid
    total = rng.uniform(5.0, 7.0) * FWHM_TO_SIGMA
    after = rng.uniform(0.5, 0.75) * total
    system = np.sqrt(total**2 - after**2)
    activity = gaussian(body.suv, grid.spacing, (system,) * 3)
    pixel, step = rng.choice([3.0, 3.9, 4.07, 4.7, 5.47]), rng.choice([2.0, 3.0, 3.27, 3.27, 4.25, 5.0])
    target = _within(grid, (pixel, pixel, step), rng)
    # Patients move between the two scans: the PET is taken from a slightly shifted place.
    shift = np.clip(rng.normal(0, 2.2, 3), -7, 7)
    moved = Grid(target.size, target.spacing, tuple(np.asarray(target.origin) + shift))
    activity = _at_edges_too(Image(activity, grid), moved)
    level = float(np.exp(rng.uniform(np.log(0.08), np.log(0.45)))) / np.sqrt(target.voxel_ml / 0.08)
    noise = rng.standard_normal(activity.shape, dtype=np.float32)
    noisy = activity + level * np.sqrt(np.maximum(activity, COUNTS_FLOOR)) * noise
    values = gaussian(noisy, target.spacing, (after,) * 3) * rng.uniform(0.85, 1.2)
    return Image(np.maximum(values, 0).astype(np.float32), target, modality="PT", unit="SUV")


def paint_couch(body: Body) -> None:
    """A thin curved plate under the patient; without uptake."""
    rng, space = body.rng, body.space
    inside = body.skin < 0
    if not inside.any():
        return
    lowest = float(np.max(space.y[inside]))
    plate = space.y - lowest - rng.uniform(3, 25) + rng.uniform(-0.0006, 0.0012) * space.x**2
    for depth in (0.0, rng.uniform(12, 45))[: int(rng.integers(1, 3))]:
        distance = (np.abs(plate - depth) - rng.uniform(0.8, 3)).astype(np.float32)
        body.fill(np.maximum(distance, 2 - body.skin), rng.uniform(-700, 250), 0.0, blocks=True)


def _within(grid: Grid, spacing: tuple[float, float, float], rng: np.random.Generator) -> Grid:
    """A grid of ``spacing`` that fills the box of ``grid`` up to a voxel."""
    step = np.asarray(spacing)
    extent = np.asarray(grid.size) * grid.spacing
    size = np.maximum(np.floor(extent / step), 4).astype(int)
    spare = np.maximum(extent - size * step, 0)
    low = np.asarray(grid.origin) - np.asarray(grid.spacing) / 2
    return Grid(tuple(size), spacing, tuple(low + rng.random(3) * spare + step / 2))


def _at_edges_too(image: Image, grid: Grid) -> np.ndarray:
    """As ``resample``; beyond its box the image goes on as it ends."""
    pad = 8
    wider = image.grid.crop((-pad,) * 3, tuple(np.asarray(image.grid.size) + 2 * pad))
    return resample(Image(np.pad(image.array, pad, mode="edge"), wider), grid).array
