"""Hausdorff loss by distance transforms (Karimi and Salcudean 2020), report 003.

The report's formula multiplies by the signed difference, which can make the loss negative; the squared
difference is meant.
"""

from __future__ import annotations

import edt
import numpy as np
import torch

from SegDLTrainingLib.losses.registry import Loss, loss
from SegDLTrainingLib.targets import probabilities


def distance_to_border(masks: np.ndarray) -> np.ndarray:
    """Distance (voxels) of each voxel to the mask's border, on both sides of it; 0 for an empty mask.

    ``masks`` bool (N, outputs, ...) in 2D or 3D.
    """
    field = np.zeros(masks.shape, np.float32)
    for number in np.ndindex(masks.shape[:2]):
        mask = np.ascontiguousarray(masks[number])
        if mask.any() and not mask.all():
            field[number] = edt.edt(mask) + edt.edt(~mask)
    return field


@loss("hausdorff")
def hausdorff(activation: str, power: float = 2.0, threshold: float = 0.5) -> Loss:
    """Mean of (p - t)^2 (d_p^power + d_t^power) over voxels and foreground outputs.

    d are the distances to the borders of the prediction cut at ``threshold`` and of the truth; no gradient
    flows through them.
    """

    def compute(logits: torch.Tensor, target: torch.Tensor, epoch: float) -> torch.Tensor:
        predicted = probabilities(logits, activation)
        if activation == "softmax":
            predicted, target = predicted[:, 1:], target[:, 1:]
        fields = [
            distance_to_border((maps.detach() > threshold).cpu().numpy()) ** power
            for maps in (predicted, target)
        ]
        weight = torch.from_numpy(fields[0] + fields[1]).to(predicted)
        return ((predicted - target) ** 2 * weight).mean()

    return compute
