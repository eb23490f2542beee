"""Errors against uncertainty as a picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SegDLTrainingLib.pictures import pyplot

if TYPE_CHECKING:
    from SegDLTrainingLib.uncertainty.evaluate import LabelFigures


def draw(figures: Mapping[str, LabelFigures], path: Path, title: str) -> None:
    """PNG: error rate by uncertainty and of what is kept, calibration; InputError without matplotlib."""
    plt = pyplot()
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.9), dpi=110, layout="constrained")
    errors, kept, calibration = axes
    for label, gathered in figures.items():
        for name, counted in gathered.errors.items():
            _line(errors, counted.bins(), "to", "error_rate", f"{label}, {name}")
            _line(kept, counted.retention(), "kept", "error_rate", f"{label}, {name}")
        for kind, bins in gathered.calibration.items():
            _line(calibration, bins.bins(), "mean_probability", "frequency", f"{label}, {kind}")
    calibration.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    errors.set(xlabel="uncertainty / its maximum, up to", ylabel="share of wrong voxels")
    kept.set(xlabel="share of voxels kept, least uncertain first", ylabel="share of wrong voxels among these")
    calibration.set(xlabel="mean probability of the voxels", ylabel="share of these in the reference")
    figure.suptitle(title)
    for axis in axes:
        axis.legend(fontsize=7)
        axis.grid(alpha=0.3)
    figure.savefig(path)
    plt.close(figure)


def _line(axis: Any, rows: Iterable[Mapping[str, Any]], x: str, y: str, label: str) -> None:
    """Points of the rows that have both figures."""
    points = [(row[x], row[y]) for row in rows if row[x] is not None and row[y] is not None]
    if points:
        axis.plot(*zip(*points, strict=True), "o-", markersize=3, label=label)
