"""Similarities of layers as pictures: a heat map of two networks, curves of one over its training."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from SegDLTrainingLib.pictures import pyplot
from SegDLTrainingLib.svcca.study import Similarities

STYLES = ("-", "--", ":", "-.")


def draw_heat_map(result: Similarities, path: Path, title: str, axes: tuple[str, str]) -> None:
    """PNG of all pairs, ``axes`` names the networks of rows and columns; InputError without matplotlib."""
    plt = pyplot()
    size = (3.5 + 0.2 * len(result.columns), 2.5 + 0.2 * len(result.rows))
    figure, axis = plt.subplots(figsize=size, dpi=110)
    picture = axis.imshow(result.values, vmin=0, vmax=1, cmap="viridis", aspect="auto")
    axis.set_facecolor("lightgrey")
    axis.set_xticks(range(len(result.columns)), result.columns, rotation=90, fontsize=7)
    axis.set_yticks(range(len(result.rows)), result.rows, fontsize=7)
    axis.set(ylabel=f"layers of {axes[0]}", xlabel=f"layers of {axes[1]}", title=title)
    figure.colorbar(picture, label="mean SVCCA coefficient (grey: constant layer)")
    figure.savefig(path, bbox_inches="tight")
    plt.close(figure)


def draw_curves(result: Similarities, path: Path, title: str) -> None:
    """PNG with one line a layer over the stages of training, from the first layer (dark) to the last."""
    plt = pyplot()
    steps = _steps(result.columns)
    figure, axis = plt.subplots(figsize=(8, 5), dpi=110)
    count = len(result.rows)
    colours = plt.get_cmap("turbo")(np.linspace(0.05, 0.95, max(count, 2)))
    for number, (name, row) in enumerate(zip(result.rows, result.values, strict=True)):
        style = STYLES[number % len(STYLES)]
        axis.plot(steps or range(len(row)), row, style, marker=".", color=colours[number], label=name)
    if steps is None:
        axis.set_xticks(range(len(result.columns)), result.columns, rotation=90, fontsize=7)
    axis.set(
        xlabel="training step" if steps else "stage of training",
        ylabel="mean SVCCA coefficient with the converged layer", ylim=(0, 1.02), title=title,
    )  # fmt: skip
    axis.grid(alpha=0.3)
    axis.legend(
        fontsize=7,
        ncols=1 + count // 28,
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
        title="first to last",
    )
    figure.savefig(path, bbox_inches="tight")
    plt.close(figure)


def _steps(stages: list[str]) -> list[int] | None:
    """The numbers at the end of the stages' names; None if they are not all different and ascending."""
    found = [re.search(r"(\d+)$", name) for name in stages]
    steps = [int(match[1]) for match in found if match]
    return steps if len(steps) == len(stages) and steps == sorted(set(steps)) else None
