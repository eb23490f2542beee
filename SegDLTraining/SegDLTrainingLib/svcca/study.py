"""SVCCA between two networks, and of one network's layers over its training; tables and pictures."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from SegDLEngine.errors import InputError
from SegDLEngine.protocol import Reporter
from torch import nn

from SegDLTrainingLib.pictures import pyplot
from SegDLTrainingLib.svcca.activations import layer_maps, paired_points
from SegDLTrainingLib.svcca.similarity import svcca


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


def compare_networks(
    first: nn.Module,
    second: nn.Module,
    images: torch.Tensor,
    reporter: Reporter,
    *,
    share: float = 0.99,
    squared: bool = True,
    most_points: int = 20000,
) -> Similarities:
    """Each layer of the first network (rows) with each of the second (columns) on the same images."""
    mine, theirs = layer_maps(first, images), layer_maps(second, images)
    values = np.full((len(mine), len(theirs)), np.nan)
    for row, a in enumerate(mine.values()):
        for column, b in enumerate(theirs.values()):
            values[row, column] = _score(a, b, share, squared, most_points)
            reporter.progress("comparing", (row * len(theirs) + column + 1) / values.size)
    return Similarities(list(mine), list(theirs), values)


def compare_training(
    network: nn.Module,
    states: Mapping[str, Mapping[str, torch.Tensor]],
    final: Mapping[str, torch.Tensor],
    images: torch.Tensor,
    reporter: Reporter,
    *,
    share: float = 0.99,
    squared: bool = True,
    most_points: int = 20000,
) -> Similarities:
    """Each layer (rows) at each stage of training (columns, the keys of ``states``) with its final self."""
    network.load_state_dict(final)
    converged = layer_maps(network, images)
    values = np.full((len(converged), len(states)), np.nan)
    for column, state in enumerate(states.values()):
        network.load_state_dict(state)
        stage = layer_maps(network, images)
        for row, name in enumerate(converged):
            values[row, column] = _score(stage[name], converged[name], share, squared, most_points)
        reporter.progress("comparing", (column + 1) / len(states))
    network.load_state_dict(final)
    return Similarities(list(converged), list(states), values)


def _score(a: torch.Tensor, b: torch.Tensor, share: float, squared: bool, most_points: int) -> float:
    first, second = paired_points(a, b, most_points)
    if min(np.ptp(first), np.ptp(second)) == 0:
        return float("nan")
    return svcca(first, second, share, squared).mean


def draw_heat_map(result: Similarities, path: Path, title: str) -> None:
    """PNG of all pairs; raises InputError if matplotlib is not installed."""
    plt = pyplot()
    figure, axis = plt.subplots(
        figsize=(2 + 0.22 * len(result.columns) + 2, 1.5 + 0.22 * len(result.rows) + 1), dpi=110
    )
    picture = axis.imshow(result.values, vmin=0, vmax=1, cmap="viridis", aspect="auto")
    axis.set_xticks(range(len(result.columns)), result.columns, rotation=90, fontsize=6)
    axis.set_yticks(range(len(result.rows)), result.rows, fontsize=6)
    axis.set_title(title)
    figure.colorbar(picture, label="mean SVCCA coefficient")
    figure.savefig(path, bbox_inches="tight")
    plt.close(figure)


def draw_curves(result: Similarities, path: Path, title: str) -> None:
    """PNG with one line a layer over the stages of training, from the first layer (dark) to the last."""
    plt = pyplot()
    figure, axis = plt.subplots(figsize=(7, 4.5), dpi=110)
    colours = plt.get_cmap("viridis")(np.linspace(0, 1, max(len(result.rows), 2)))
    for name, row, colour in zip(result.rows, result.values, colours, strict=False):
        axis.plot(range(len(row)), row, color=colour, label=name, linewidth=1)
    axis.set_xticks(range(len(result.columns)), result.columns, rotation=90, fontsize=7)
    axis.set(xlabel="stage of training", ylabel="SVCCA with the converged layer", ylim=(0, 1.02), title=title)
    axis.legend(fontsize=5, ncols=1 + len(result.rows) // 24, loc="center left", bbox_to_anchor=(1.01, 0.5))
    figure.savefig(path, bbox_inches="tight")
    plt.close(figure)


def stages_in(folder: Path) -> Sequence[Path]:
    """The ``*.safetensors`` of a folder by name; raises InputError when there are none."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise InputError(
            f"{folder} holds no *.safetensors.", hint="Give the folder with the weights of several epochs."
        )
    return files
