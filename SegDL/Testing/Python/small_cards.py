"""The shipped cards with a small network, small boxes and seeded weights, and small cases for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from seeded_model import reduced_card, write_seeded_package
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.models.card import load_card
from SegDLEngine.models.catalogue import SHIPPED_FOLDER

# Voxels of boxes and windows, by step; the order and all other constants of the steps stay.
SIDE = 32
SIZES: dict[str, dict[str, list[int]]] = {
    "resample_to_box": {"size": [SIDE] * 3},
    "crop_center_of_mass": {"size": [SIDE] * 3, "before": [SIDE // 2] * 3},
    "resize": {"size": [SIDE] * 3},
    "resize_in_plane": {"size": [64, 64]},
    "crop_pad": {"size": [64, 64]},
}


def small_card(name: str) -> dict[str, Any]:
    card = reduced_card(load_card(SHIPPED_FOLDER / name).data)
    for entry in card["preprocessing"]:
        entry.update(SIZES.get(entry["step"], {}))
    if "patch" in card["inference"]:
        card["inference"]["patch"] = [SIDE] * 3
    return card


def small_package(name: str, folder: Path, **how: Any) -> Path:
    return write_seeded_package(folder / name, small_card(name), **how)


def turned(spacing, size, centre, degrees: float) -> Grid:
    """A grid round ``centre`` (LPS mm), turned about the body's long axis."""
    angle = np.radians(degrees)
    axes = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    origin = np.asarray(centre) - axes @ ((np.asarray(size) - 1) / 2 * spacing)
    return Grid(tuple(size), tuple(spacing), tuple(origin), tuple(axes.ravel()))


def ellipsoid(grid: Grid, centre, radii) -> np.ndarray:
    """bool (k, j, i): inside the ellipsoid round ``centre`` (LPS mm)."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.size), indexing="ij"), axis=-1)
    offset = (grid.to_physical(index.reshape(-1, 3)) - centre) / np.asarray(radii)
    return ((offset**2).sum(axis=1) <= 1).reshape(grid.size).transpose(2, 1, 0)


def small_pet_ct() -> dict[str, Image]:
    """CT and PET of a neck with a hot tumour: different grids, spacings and orientations."""
    noise = np.random.default_rng(3)
    ct = turned((1.5, 1.5, 3.0), (17, 16, 9), (5.0, -8.0, 40.0), 10)
    pet = turned((4.0, 4.0, 4.0), (8, 7, 8), (4.3, -6.8, 41.1), 0)
    images = {}
    for name, grid, levels, sigma, kind in (
        ("CT", ct, (-1000, 40, 60), 10, np.int16),
        ("PET", pet, (0.1, 1.0, 9.0), 0.05, np.float32),
    ):
        body = ellipsoid(grid, (5, -8, 40), (11, 10, 60))
        tumour = ellipsoid(grid, (8, -5, 42), (5, 5, 7))
        values = np.select([tumour, body], [levels[2], levels[1]], levels[0])
        values = values + noise.normal(0, sigma, grid.shape)
        images[name] = Image(values.astype(kind), grid, "PT" if name == "PET" else name, "")
    return images


def small_brain(names=("T1", "T1c", "T2", "FLAIR")) -> dict[str, Image]:
    """Skull-stripped sequences with a tumour; the last is oblique and coarser than the others."""
    noise = np.random.default_rng(4)
    images = {}
    for number, name in enumerate(names):
        last = number == len(names) - 1
        grid = (
            turned((1.5, 1.5, 2.0), (24, 22, 8), (0.0, 2.0, 10.0), 15)
            if last
            else turned((1.0, 1.0, 1.5), (34, 32, 10), (0.0, 2.0, 10.0), 0)
        )
        brain = ellipsoid(grid, (0, 2, 10), (14, 13, 7))
        tumour = ellipsoid(grid, (4, 5, 10), (5, 5, 4))
        values = 300 + 100 * number + noise.normal(0, 20, grid.shape) + 200 * tumour
        images[name] = Image(np.where(brain, values, 0).astype(np.int16), grid, "MR", "")
    return images


def small_case(name: str) -> dict[str, Image]:
    """A case for the card ``name``, in the order of its inputs."""
    inputs = load_card(SHIPPED_FOLDER / name).input_names
    found = {**small_pet_ct(), **small_brain(), "MR": small_brain()["T1"]}
    return {key: found[key] for key in inputs}
