"""Samplers by mode: they draw the batches of a training from prepared volumes.

A batch is images float32 (N, C, ...) and labels uint8 (N, ...).  Row ``r`` of batch ``number`` depends on the
seed, ``number`` and ``r`` only, so any part of a batch can be drawn anywhere, at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from SegDLEngine.errors import InputError

from SegDLTrainingLib.live_tumours import LiveTumours
from SegDLTrainingLib.sampling_patches import PatchSampler
from SegDLTrainingLib.sampling_slices import SliceSampler
from SegDLTrainingLib.volumes import PreparedVolume, check_labels

Batch = tuple[torch.Tensor, torch.Tensor]


class Sampler(Protocol):
    """``size``: rows in a batch; ``batch`` draws all of them or the given ``rows``."""

    size: int

    def batch(self, number: int, rows: Sequence[int] | None = None) -> Batch: ...

    def names(self, number: int, rows: Sequence[int] | None = None) -> list[str]: ...


def build_sampler(
    volumes: Sequence[PreparedVolume],
    card: Mapping[str, Any],
    settings: Mapping[str, Any],
    seed: int,
    live: LiveTumours | None = None,
) -> Sampler:
    """The sampler of a recipe's ``sampling``; raises InputError for an unknown mode or a strange label."""
    if not volumes:
        raise InputError("There are no cases to draw from.")
    values = [label["value"] for label in card["labels"]]
    counts = np.stack([check_labels(volume, values) for volume in volumes])
    mode = settings.get("mode", "slices")
    if mode == "slices":
        return SliceSampler(volumes, card["inference"].get("context", [0]), settings, seed, live)
    if mode == "patches":
        return PatchSampler(volumes, values, counts, settings, seed)
    raise InputError(f"The recipe's sampling.mode '{mode}' is unknown.", hint="Known: slices, patches.")


def validation_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Sampling without what only training needs."""
    return {**settings, "slice_zoom": 0.0, "live_share": 0.0}
