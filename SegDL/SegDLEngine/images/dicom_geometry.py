"""From the positions of DICOM slices to one grid, or to a clear word why there is none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from SegDLEngine.errors import InputError
from SegDLEngine.images.dicom_files import Slice
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.images.resampling import resample

Warn = Callable[[str, str], None]

# Slices nearer than this are at one position (mm).
SAME_POSITION = 0.01
# Steps that differ from their median by less than this part are one spacing: headers round.
EVEN = 0.005
# A step outside these parts of the median is a missing slice or another spacing, not an uneven table.
SHORTEST, LONGEST = 0.5, 1.5


@dataclass(frozen=True)
class Stack:
    """Slices in order along the normal, their grid, and the gantry tilt in degrees (0 when straight).

    A tilted stack has a sheared grid: its third axis is no normal of the slices.
    """

    slices: list[Slice]
    grid: Grid
    tilt: float


def arrange(slices: Sequence[Slice], name: str, warn: Warn) -> Stack:
    """Order the slices by position along their normal; ``name`` is the series in messages.

    Raises InputError for mixed sizes, spacings or orientations, several images at one position, missing
    slices and slices shifted against each other; ``warn`` hears of uneven steps.
    """
    first = slices[0]
    _check_alike(slices, name)
    row, column, normal = _axes(first.orientation, name)
    height = np.array([item.position @ normal for item in slices])
    order = np.argsort(height, kind="stable")
    ordered = [slices[index] for index in order]
    positions = np.array([item.position for item in ordered])
    depth = first.thickness if first.thickness and first.thickness > 0 else 1.0
    direction, tilt = normal, 0.0
    if len(ordered) > 1:
        depth = _step(height[order], name, warn)
        direction, depth, tilt = _stacking(positions, normal, depth, min(first.spacing), name)
    grid = Grid(
        (*first.size, len(ordered)),
        (*first.spacing, depth),
        tuple(positions[0]),
        tuple(np.column_stack([row, column, direction]).ravel()),
    )
    return Stack(ordered, grid, tilt)


def straighten(image: Image, outside: float) -> Image:
    """A tilted (sheared) image resampled linearly to a grid whose third axis is the normal of the slices."""
    grid = image.grid
    row, column = grid.axes[:, 0], grid.axes[:, 1]
    axes = np.column_stack([row, column, np.cross(row, column)])
    ends = np.array([(0, 0, 0), (0, 0, grid.size[2] - 1)], dtype=float)
    drift = (grid.to_physical(ends)[1] - grid.to_physical(ends)[0]) @ axes
    spacing = np.array([*grid.spacing[:2], drift[2] / max(grid.size[2] - 1, 1)])
    before = np.floor(np.minimum(drift, 0)[:2] / spacing[:2] + 1e-3)
    after = np.ceil(np.maximum(drift, 0)[:2] / spacing[:2] - 1e-3)
    shift = np.array([*before, 0])
    size = np.asarray(grid.size) + np.array([*(after - before), 0]).astype(int)
    origin = np.asarray(grid.origin) + axes @ (shift * spacing)
    straight = Grid(tuple(size), tuple(spacing), tuple(origin), tuple(axes.ravel()))
    return resample(image, straight, outside=outside)


def _check_alike(slices: Sequence[Slice], name: str) -> None:
    first = slices[0]
    if min(first.size) < 1:
        raise InputError(f"{name} has images without pixels.", hint="Export the series again.")
    for other in slices:
        if other.size != first.size:
            found = f"{first.size[0]} x {first.size[1]} and {other.size[0]} x {other.size[1]} pixels"
            raise InputError(f"{name} mixes images of {found}.", hint="Give a series of one size.")
        if not np.allclose(other.spacing, first.spacing, rtol=1e-3):
            raise InputError(f"{name} mixes pixel spacings.", hint="Give a series of one spacing.")
        if not np.allclose(other.orientation, first.orientation, atol=2e-3):
            raise InputError(
                f"{name} mixes images of different orientation ('{first.path.name}', '{other.path.name}').",
                hint="Give a series of parallel slices.",
            )


def _axes(orientation: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Orthonormal row, column and normal; headers round their numbers to a few digits."""
    row, column = orientation
    lengths = np.linalg.norm(orientation, axis=1)
    if np.abs(lengths - 1).max() > 1e-2 or abs(row @ column) > 1e-2:
        raise InputError(
            f"{name} has an ImageOrientationPatient that is no pair of right-angled unit vectors."
        )
    row = row / lengths[0]
    column = column - row * (row @ column)
    column = column / np.linalg.norm(column)
    return row, column, np.cross(row, column)


def _step(height: np.ndarray, name: str, warn: Warn) -> float:
    """Mean distance of the slices at sorted ``height`` (mm)."""
    steps = np.diff(height)
    same = int((steps < SAME_POSITION).sum())
    if same:
        raise InputError(
            f"{name} has {len(height)} images at {len(height) - same} positions (times, echoes or gates).",
            hint="Give a series with one image for every position.",
        )
    usual = float(np.median(steps))
    worst = int(np.argmax(np.abs(steps - usual)))
    if not SHORTEST * usual < steps[worst] < LONGEST * usual:
        raise InputError(
            f"{name} has a gap: {steps[worst]:.2f} mm between the slices at {height[worst]:.2f} and "
            f"{height[worst + 1]:.2f} mm, {usual:.2f} mm elsewhere; slices are missing or uneven.",
            hint="Export the whole series again.",
            code="missing-slice",
        )
    mean = float((height[-1] - height[0]) / (len(height) - 1))
    if np.abs(steps - usual).max() > EVEN * usual:
        off = float(np.abs(height - height[0] - mean * np.arange(len(height))).max())
        if off > mean:
            raise InputError(
                f"{name} has slices {steps.min():.2f} to {steps.max():.2f} mm apart: too uneven.",
                hint="Give a series with even spacing.",
            )
        warn(
            "uneven-slices",
            f"{name} has slices {steps.min():.2f} to {steps.max():.2f} mm apart; {mean:.3f} mm is used, "
            f"which moves none by more than {off:.2f} mm.",
        )
    return mean


def _stacking(
    positions: np.ndarray, normal: np.ndarray, step: float, pixel: float, name: str
) -> tuple[np.ndarray, float, float]:
    """Direction of the third axis, its spacing and the tilt in degrees."""
    count = len(positions) - 1
    vector = (positions[-1] - positions[0]) / count
    sideways = vector - normal * (vector @ normal)
    line = positions[0] + np.outer(np.arange(count + 1), vector)
    stray = positions - line
    stray -= np.outer(stray @ normal, normal)
    if np.linalg.norm(stray, axis=1).max() > 0.5 * pixel:
        raise InputError(
            f"{name} has slices that are shifted against each other within their planes.",
            hint="Give a series of aligned slices.",
        )
    if np.linalg.norm(sideways) * count <= 0.5 * pixel:
        return normal, step, 0.0
    tilt = float(np.degrees(np.arctan2(np.linalg.norm(sideways), step)))
    length = float(np.linalg.norm(vector))
    return vector / length, length, tilt
