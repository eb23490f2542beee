"""Small cases for tests of preprocessing steps, and how alike two masks are."""

from __future__ import annotations

import numpy as np
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.inference.restoring import restore_labels
from SegDLEngine.preprocessing.registry import PreparedCase, run_steps
from SegDLEngine.protocol import Reporter


def image(array, modality="CT", unit="HU", grid=None) -> Image:
    array = np.asarray(array)
    return Image(array, grid or Grid(array.shape[::-1]), modality, unit)


def line(*values, dtype=np.float32) -> PreparedCase:
    return PreparedCase({"CT": image(np.array(values, dtype).reshape(1, 1, -1))}, "CT")


def apply(case: PreparedCase, *steps) -> PreparedCase:
    return run_steps(case, [{"step": name, **constants} for name, constants in steps])


def values(case: PreparedCase, name="CT") -> list:
    return case.images[name].array.ravel().tolist()


def codes(case: PreparedCase) -> list[str]:
    return [event["code"] for event in case.reporter.warnings]


def ball(grid: Grid, centre, radius: float) -> Image:
    """uint8: voxels whose centre lies within ``radius`` mm of ``centre`` (LPS)."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.size), indexing="ij"), axis=-1)
    distance = np.linalg.norm(grid.to_physical(index.reshape(-1, 3)) - centre, axis=1)
    return Image((distance <= radius).reshape(grid.size).transpose(2, 1, 0).astype(np.uint8), grid)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    both = np.count_nonzero((one != 0) & (other != 0))
    return 2 * both / (np.count_nonzero(one) + np.count_nonzero(other))


def restored(labels: Image, target: Grid) -> np.ndarray:
    """Labels on the prepared grid taken for probabilities and brought back, as the pipeline does."""
    probability = labels.array[None].astype(np.float32)
    return restore_labels(probability, labels.grid, target, [1], 0.5, "sigmoid", Reporter()).array
