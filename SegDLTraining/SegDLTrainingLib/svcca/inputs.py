"""Network input from images of cases, prepared by a model's own card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from SegDLEngine.inference.slices import slice_channels
from SegDLEngine.models.catalogue import Model
from SegDLEngine.networks.network import Network
from SegDLEngine.pipeline import Source, View, read_inputs
from SegDLEngine.preprocessing.registry import PreparedCase, run_steps
from SegDLEngine.protocol import Reporter

LARGEST_SIDE = {2: 192, 3: 64}


def network_inputs(
    model: Model,
    network: Network,
    cases: Sequence[Mapping[str, Source]],
    reporter: Reporter,
    per_case: int = 4,
    seed: int = 0,
) -> torch.Tensor:
    """``per_case`` slices or patches of every case, (N, C, ...) float32, where the image is not empty.

    All have one size: what the network divides by and the largest below ``LARGEST_SIDE`` that fits the cases.
    """
    volumes = []
    for number, case in enumerate(cases):
        images = read_inputs(case, model.card, reporter)
        prepared = run_steps(
            PreparedCase(images, model.card.reference, reporter=reporter), model.card.preprocessing
        )
        volumes.append(View.of(prepared, model.card).channels)
        reporter.progress("reading", (number + 1) / len(cases))
    context = model.card.inference.get("context", (0,)) if network.dimensions == 2 else None
    sides = _sides(network, [volume.shape[1:] for volume in volumes])
    rng = np.random.default_rng(seed)
    batch = []
    for volume in volumes:
        busy = np.argwhere(np.abs(volume).max(axis=0) > 0)
        for _ in range(per_case):
            centre = busy[int(rng.integers(len(busy)))] if len(busy) else np.zeros(3, int)
            if context is not None:
                planes = slice_channels(volume, [int(centre[0])], context)[0]
                batch.append(_cut(planes, centre[1:], sides))
            else:
                batch.append(_cut(volume, centre, sides))
    return torch.from_numpy(np.stack(batch).astype(np.float32))


def _sides(network: Network, shapes: Sequence[Sequence[int]]) -> list[int]:
    """Side lengths that the network takes, at most the smallest volume's, padded up if that is too small."""
    step, rest, largest = network.divisible_by, network.remainder, LARGEST_SIDE[network.dimensions]
    smallest = [min(lengths) for lengths in zip(*shapes, strict=True)][-network.dimensions :]
    sides = []
    for length in smallest:
        count = max((min(length, largest) - rest) // step, 1)
        while count * step + rest <= 2 * network.margin:
            count += 1
        sides.append(count * step + rest)
    return sides


def _cut(channels: np.ndarray, centre: Sequence[int] | np.ndarray, sides: Sequence[int]) -> np.ndarray:
    """(C, ...) of ``sides`` round ``centre``, moved inside the image; smaller ones get zeros at their end."""
    parts: list[slice] = [slice(None)]
    padding = [(0, 0)]
    for length, at, side in zip(channels.shape[1:], centre, sides, strict=True):
        start = int(np.clip(at - side // 2, 0, max(length - side, 0)))
        parts.append(slice(start, start + side))
        padding.append((0, max(side - length, 0)))
    return np.pad(channels[tuple(parts)], padding)
