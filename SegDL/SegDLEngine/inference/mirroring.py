"""Flip test-time augmentation: a network sees an image and its mirror images; the answers are averaged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from SegDLEngine.errors import ModelError
from SegDLEngine.models.card import ENSEMBLE

FLIP_TTA = "flip_tta"

# Axes of the image by name, as axes of a tensor (N, C, k, j, i).
_TENSOR_AXES = {"i": -1, "j": -2, "k": -3}


@dataclass(frozen=True)
class Mirroring:
    """Which mirror images a network sees, and what their answers are for.

    ``flips``: the tensor axes that each mirror image reverses, the image itself not among them; ``predicts``:
    the mean of all answers is the prediction; ``spreads``: their spread is the uncertainty.
    """

    flips: tuple[tuple[int, ...], ...] = ()
    predicts: bool = False
    spreads: bool = False

    @classmethod
    def of(cls, settings: Mapping[str, Any], dimensions: int, samples: int) -> Mirroring:
        """From a card's ``inference``.

        ``mirroring`` lists axes whose mirror images count for the prediction.  With the uncertainty
        "flip_tta", and if ``samples`` is not 0, the spread comes from the same axes, or from all axes of the
        network if none are listed.  Raises ModelError for an axis that the network does not have.
        """
        axes = _axes(settings, dimensions)
        spreads = settings.get("uncertainty") == FLIP_TTA and samples > 0
        if not settings.get("mirroring") and not spreads:
            return cls()
        flips = (flip for count in range(1, len(axes) + 1) for flip in combinations(axes, count))
        return cls(tuple(flips), bool(settings.get("mirroring")), spreads)


def _axes(settings: Mapping[str, Any], dimensions: int) -> tuple[int, ...]:
    known = list(_TENSOR_AXES)[:dimensions]
    names = settings.get("mirroring") or known
    for name in names:
        if name not in known:
            raise ModelError(
                f"The model card's inference.mirroring names the axis '{name}'.",
                hint=f"Axes of this network: {', '.join(known)}.",
            )
    return tuple(_TENSOR_AXES[name] for name in known if name in names)


def uncertainty_passes(settings: Mapping[str, Any], asked: int | None) -> int:
    """Passes whose spread is the uncertainty of a card's ``inference``: as asked for, else the card's.

    Mirror images are not more or fewer than their axes give, nor folds than there are, so of them any number
    but 0 means all; those of the folds come without extra work, so a card need not ask for them.
    """
    if asked is not None:
        return asked
    kind = settings.get("uncertainty", "none")
    return 0 if kind == "none" else int(settings.get("samples", 1 if kind == ENSEMBLE else 0))
