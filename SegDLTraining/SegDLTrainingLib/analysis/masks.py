"""Pixel-wise mean and standard deviation of the masks of a data set (report 004, figure 4).

Two parts of a data set whose pictures differ are not drawn alike; the report looks for the cause of a poor
test figure there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from SegDLEngine.errors import InputError


@dataclass(frozen=True)
class MaskStatistics:
    """``mean`` and ``std`` (j, i), population standard deviation, over ``count`` masks in 0..1."""

    mean: np.ndarray
    std: np.ndarray
    count: int


def mask_statistics(masks: Iterable[np.ndarray], size: Sequence[int] = (64, 64)) -> MaskStatistics:
    """Over 2D masks (j, i), or all slices of 3D ones (k, j, i), brought to ``size`` (i, j).

    Masks are averaged down or repeated up, so a mask of the asked size counts as it is.  One mask is held at
    a time.  Raises InputError when there are none or a mask is not 2D or 3D.
    """
    shape = (int(size[1]), int(size[0]))
    total, squares, count = np.zeros(shape), np.zeros(shape), 0
    for mask in masks:
        if mask.ndim not in (2, 3):
            raise InputError(f"A mask has {mask.ndim} dimensions.", hint="Give 2D slices or 3D volumes.")
        for plane in mask[None] if mask.ndim == 2 else mask:
            small = _resized(plane > 0, shape)
            total += small
            squares += small**2
            count += 1
    if not count:
        raise InputError("There are no masks to average.", hint="Check the folder of the data.")
    mean = total / count
    return MaskStatistics(mean, np.sqrt(np.maximum(squares / count - mean**2, 0)), count)


def _resized(plane: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    if plane.shape == shape:
        return plane.astype(float)
    rows, columns = (_overlaps(have, want) for have, want in zip(plane.shape, shape, strict=True))
    return rows @ plane.astype(float) @ columns.T


def _overlaps(have: int, want: int) -> np.ndarray:
    """(want, have): share of each old cell in each new one; rows sum to 1."""
    old, new = np.arange(have + 1) / have, np.arange(want + 1) / want
    upper = np.minimum(old[None, 1:], new[1:, None])
    lower = np.maximum(old[None, :-1], new[:-1, None])
    return np.clip(upper - lower, 0, None) * want


def draw(parts: dict[str, MaskStatistics], path: Path) -> None:
    """PNG: one column a part (training, validation, test), mean above, standard deviation below.

    Pictures of one row share their scale, so that parts can be compared.
    """
    from SegDLTrainingLib.pictures import pyplot

    plt = pyplot()
    size = (3 * len(parts) + 1, 6.2)
    figure, axes = plt.subplots(2, len(parts), figsize=size, squeeze=False, dpi=110, layout="constrained")
    for row, (kind, text) in enumerate(
        {"mean": "mean mask: share of the slices", "std": "standard deviation of the mask"}.items()
    ):
        top = max(float(getattr(part, kind).max()) for part in parts.values())
        for axis, (name, part) in zip(axes[row], parts.items(), strict=True):
            picture = axis.imshow(getattr(part, kind), vmin=0, vmax=top or 1, cmap="viridis")
            axis.set_title(f"{name}, {part.count} slices", fontsize=9)
            axis.set_xticks([])
            axis.set_yticks([])
        figure.colorbar(picture, ax=list(axes[row]), label=text)
    figure.savefig(path)
    plt.close(figure)
