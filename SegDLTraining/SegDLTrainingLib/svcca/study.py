"""SVCCA between two networks, and of one network's layers over its training; tables and pictures."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from SegDLEngine.errors import InputError
from SegDLEngine.protocol import Reporter
from torch import nn

from SegDLTrainingLib.svcca.activations import Grid, Points, layer_grids, layer_points
from SegDLTrainingLib.svcca.similarity import mean_correlation, white_directions

# Points for each channel below which canonical correlations are high by chance.
LEAST_POINTS = 5

State = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Similarities:
    """``values`` (rows, columns), mean SVCCA coefficients 0..1; NaN where a layer is constant."""

    rows: list[str]
    columns: list[str]
    values: np.ndarray

    def write_csv(self, path: Path) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["", *self.columns])
            for name, row in zip(self.rows, self.values, strict=True):
                table.writerow([name, *(f"{value:.6f}" for value in row)])


@dataclass
class Sampling:
    """What of a layer is compared: ``share`` of its variance, at most at ``points`` voxels of all images.

    ``squared``: see ``leading_directions``.  ``seed`` decides which voxels.
    """

    share: float = 0.99
    squared: bool = True
    points: int = 10000
    seed: int = 0
    _warned: bool = False

    def white(
        self, network: nn.Module, images: torch.Tensor, grids: Mapping[str, Grid], reporter: Reporter
    ) -> dict[str, np.ndarray | None]:
        """The white directions of layers, each on a grid; None for a constant layer."""
        wanted = {name: Points(len(images), grid, self.points, self.seed) for name, grid in grids.items()}
        found = layer_points(network, images, wanted)
        self._warn({name: values.shape for name, values in found.items()}, reporter)
        result: dict[str, np.ndarray | None] = {}
        for name in grids:
            values = found.pop(name).astype(np.float64)
            result[name] = None if np.ptp(values) == 0 else white_directions(values, self.share, self.squared)
        return result

    def _warn(self, shapes: Mapping[str, tuple[int, ...]], reporter: Reporter) -> None:
        """Once, when a layer has too few points for its channels."""
        few = [name for name, (channels, points) in shapes.items() if points < LEAST_POINTS * channels]
        if few and not self._warned:
            self._warned = True
            reporter.warning(
                "points",
                f"{len(few)} layers have fewer than {LEAST_POINTS} points for each channel, for example "
                f"{few[0]}: they look more alike than they are. Give more cases, or a higher --per-case.",
            )


def compare_networks(
    first: nn.Module,
    second: nn.Module,
    images: torch.Tensor,
    reporter: Reporter,
    sampling: Sampling | None = None,
) -> Similarities:
    """Each layer of the first network (rows) with each of the second (columns) on the same images.

    A pair of layers is compared on the coarser one's grid.
    """
    sampling = sampling or Sampling()
    rows, columns = layer_grids(first, images), layer_grids(second, images)
    pairs = {(a, b): _coarser(rows[a], columns[b]) for a in rows for b in columns}
    values = {}
    # Grid by grid, as all grids of all layers at once may not fit into memory.
    for grid in dict.fromkeys(pairs.values()):
        here = [pair for pair, common in pairs.items() if common == grid]
        mine, theirs = (
            sampling.white(network, images, {names[place]: grid for names in here}, reporter)
            for place, network in enumerate((first, second))
        )
        for a, b in here:
            values[a, b] = _similarity(mine[a], theirs[b])
            reporter.progress("comparing", len(values) / len(pairs))
    table = np.array([[values[a, b] for b in columns] for a in rows])
    return Similarities(list(rows), list(columns), table)


def compare_training(
    network: nn.Module,
    stages: Mapping[str, Callable[[], State]],
    final: State,
    images: torch.Tensor,
    reporter: Reporter,
    sampling: Sampling | None = None,
) -> Similarities:
    """Each layer (rows) at each stage of training (columns) with its final self.

    ``stages`` load the weights of a stage when its turn comes.
    """
    sampling = sampling or Sampling()
    network.load_state_dict(final)
    grids = layer_grids(network, images)
    converged = sampling.white(network, images, grids, reporter)
    values = np.full((len(grids), len(stages)), np.nan)
    for column, load in enumerate(stages.values()):
        network.load_state_dict(load())
        stage = sampling.white(network, images, grids, reporter)
        for row, name in enumerate(grids):
            values[row, column] = _similarity(stage[name], converged[name])
        reporter.progress("comparing", (column + 1) / len(stages))
    network.load_state_dict(final)
    return Similarities(list(grids), list(stages), values)


def _coarser(one: Grid, other: Grid) -> Grid:
    return tuple(min(pair) for pair in zip(one, other, strict=True))


def _similarity(one: np.ndarray | None, other: np.ndarray | None) -> float:
    return float("nan") if one is None or other is None else mean_correlation(one, other)


def stages_in(folder: Path) -> Sequence[Path]:
    """The ``*.safetensors`` of a folder by name; raises InputError when there are none."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise InputError(
            f"{folder} holds no *.safetensors.", hint="Give the folder with the weights of several epochs."
        )
    return files
