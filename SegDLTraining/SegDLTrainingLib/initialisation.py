"""First values of weights that depend on the data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from SegDLEngine.errors import InputError
from torch import nn

from SegDLTrainingLib.volumes import PreparedVolume, check_labels

# A label that no case has would get a bias of minus infinity.
RAREST = 1e-6


@torch.no_grad()
def set_output_bias(
    network: nn.Module,
    name: str,
    volumes: Sequence[PreparedVolume],
    values: Sequence[int],
    activation: str,
) -> None:
    """Set the bias ``name`` so that a network of zero weights predicts how often labels are (report 002).

    With "softmax" the logarithms of the frequencies, background first; with "sigmoid" their log odds.  Raises
    InputError if the network has no such parameter with one value for each output.
    """
    counts = np.sum([check_labels(volume, values) for volume in volumes], axis=0)
    frequency = np.maximum(counts / counts.sum(), RAREST)
    if activation == "softmax":
        bias = np.log(frequency[[0, *values]])
    else:
        bias = np.log(frequency[list(values)] / (1 - frequency[list(values)]))
    parameter = dict(network.named_parameters()).get(name)
    if parameter is None or parameter.shape != bias.shape:
        raise InputError(
            f"The recipe's training.output_bias '{name}' is no parameter of {len(bias)} values.",
            hint="Name the bias of the network's last layer.",
        )
    parameter.copy_(torch.from_numpy(bias))
