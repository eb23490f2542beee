"""What the lung isolation says about its result, as plain data."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.preprocessing.lungs.orientation import PatientOrder
from SegDLEngine.preprocessing.lungs.spine import SpineAxis


class Clock:
    """Seconds by stage; ``total`` runs from the clock's making."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 4)

    def stop(self) -> dict[str, float]:
        return {**self.seconds, "total": round(time.perf_counter() - self._started, 4)}


def volumes(masks: Mapping[str, Image]) -> dict[str, float]:
    """Volume in ml of each mask, as ``name_ml``."""
    return {
        f"{name}_ml": round(int(np.count_nonzero(mask.array)) * mask.grid.voxel_ml, 2)
        for name, mask in masks.items()
    }


def describe_axis(axis: SpineAxis, grid: Grid) -> dict[str, Any]:
    """The axis in columns of the patient order and in LPS points (mm), slice by slice."""
    order = PatientOrder.of(grid)
    known = np.isfinite(axis.rows)
    rows = np.where(known, axis.rows, axis.rows[known].mean() if known.any() else 0.0)
    kji = np.column_stack((axis.first + np.arange(axis.smoothed.size), rows, axis.smoothed))
    points = grid.to_physical(order.to_image_index(kji, grid))
    return {
        "first_slice": axis.first,
        "measured_columns": [None if np.isnan(value) else round(float(value), 2) for value in axis.measured],
        "columns": [round(float(value), 3) for value in axis.smoothed],
        "lowest_column": round(float(axis.smoothed.min()), 3),
        "highest_column": round(float(axis.smoothed.max()), 3),
        "points_lps_mm": np.round(points, 2).tolist(),
    }
