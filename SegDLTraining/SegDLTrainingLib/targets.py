"""Targets of the loss from label maps: one map for each output of the network."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def target_maps(
    labels: torch.Tensor, values: Sequence[int], activation: str, margin: int = 0
) -> torch.Tensor:
    """float32 0 or 1 (N, outputs, ...) of labels uint8 (N, ...).

    With "sigmoid" one output for each of ``values``; with "softmax" the background comes first.  ``margin``
    voxels at each side are left out, as unpadded networks do.
    """
    if margin:
        inner = (slice(None), *[slice(margin, length - margin) for length in labels.shape[1:]])
        labels = labels[inner]
    chosen = [0, *values] if activation == "softmax" else list(values)
    return torch.stack([labels == value for value in chosen], dim=1).float()


def probabilities(logits: torch.Tensor, activation: str) -> torch.Tensor:
    """Probabilities of the outputs (N, outputs, ...)."""
    return logits.softmax(dim=1) if activation == "softmax" else torch.sigmoid(logits)
