"""Small generated data sets for the tests of training data: cards, images and folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.images.writing import write_image
from SegDLEngine.models.card import ModelCard
from SegDLEngine.models.catalogue import load_model

GRID = Grid((12, 10, 8), (1.5, 1.5, 3.0), (-9.0, 4.0, -30.0))


def shipped_card(model: str) -> ModelCard:
    """The card of a shipped model: 'lung-tumor-unet2d', 'brain-tumor-multiscale-cnn3d', ..."""
    return load_model(model, need_weights=False).card


def card_with(model: str, **changes: Any) -> ModelCard:
    """A shipped card with other fields."""
    return ModelCard({**shipped_card(model).data, **changes})


def values(seed: int, grid: Grid = GRID, kind: str = "CT") -> Image:
    """Noise that passes for Hounsfield units, or for a PET or MR."""
    generator = np.random.default_rng(seed)
    array = generator.normal(0, 300, grid.shape)
    return Image((array if kind == "CT" else np.abs(array) / 50).astype(np.float32), grid)


def box_labels(grid: Grid = GRID, value: int = 1, start: int = 3) -> Image:
    """A box of 3x3x2 voxels of ``value``."""
    array = np.zeros(grid.shape, np.uint8)
    array[start : start + 2, start : start + 3, start : start + 3] = value
    return Image(array, grid)


def put(image: Image, *parts: str | Path) -> Path:
    """Write an image; folders are made."""
    path = Path(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_image(image, path)


def several(images: Sequence[Image], path: Path) -> Path:
    """A 4D NIfTI of images on one grid."""
    import SimpleITK
    from SegDLEngine.images.conversion import to_sitk

    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(SimpleITK.JoinSeries([to_sitk(image) for image in images]), str(path))
    return path
