"""Cases and a recipe so small that a training from files takes seconds; for tests of what launches it."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.images.writing import write_image
from tiny_model import tiny_card

GRID = Grid((32, 32, 12), (2.0, 2.0, 3.0), (-30.0, -30.0, 0.0))


def ball(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A CT (HU, int16) of a soft round thing in air, and the mask of the denser ball in it."""
    rng = np.random.default_rng(seed)
    k, j, i = np.mgrid[:12, :32, :32]
    at = rng.uniform(12, 20, 2)
    mask = (2 * (k - 6)) ** 2 + (j - at[0]) ** 2 + (i - at[1]) ** 2 < 30
    body = (j - 16) ** 2 + (i - 16) ** 2 < 200
    voxels = np.where(body, 0, -1000) + rng.normal(0, 10, k.shape) + 120 * mask
    return voxels.astype(np.int16), mask.astype(np.uint8)


def write_cases(folder: Path, count: int = 3) -> Path:
    """Write cases and their manifest (CSV), which is returned."""
    rows = ["case,CT,labels"]
    for seed in range(count):
        voxels, mask = ball(seed)
        write_image(Image(voxels, GRID, "CT", "HU"), folder / f"{seed}.nrrd")
        write_image(Image(mask, GRID), folder / f"{seed}-labels.nrrd")
        rows.append(f"case-{seed},{seed}.nrrd,{seed}-labels.nrrd")
    manifest = folder / "cases.csv"
    manifest.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return manifest


def write_recipe(path: Path, *, epochs: int = 2, steps: int = 3) -> Path:
    """A recipe for the user's cases with a network of a few hundred weights."""
    card = {
        key: value for key, value in copy.deepcopy(tiny_card()).items() if key not in ("weights", "training")
    }
    recipe = {
        "schema": "segdl-recipe-1",
        "id": "tiny-recipe",
        "title": "Tiny recipe for tests",
        "report": "",
        "seed": 5,
        "card": card,
        "data": {"source": "manifest", "split": {"method": "hold-out", "ratio": [2, 1]}},
        "sampling": {"size": [32, 32], "batch": 2, "tumour_share": 0.5},
        "augmentation": [],
        "loss": {"name": "dice"},
        "schedule": {"name": "exponential", "start": 0.01},
        "training": {"keep": "best", "epochs": epochs, "steps_per_epoch": steps, "validation_slices": 4},
    }
    path.write_text(json.dumps(recipe, indent=1), encoding="utf-8")
    return path
