"""The 2D form of the Models Genesis U-Net (report 003), and its weights from the 3D ones."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from SegDLEngine.networks.genesis_unet import GenesisUNet


class GenesisUNet2d(GenesisUNet):
    """(N, in_channels, j, i) to logits (N, out_channels, j, i), sigmoid outside; sides divisible by 8.

    6,821,953 parameters; see ``GenesisUNet`` for the options.  The report's patches of 68x68 pixels do not
    fit the decoder (68 / 8 = 8.5): pad them to 72.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        filters: int = 32,
        batch_statistics: bool = False,
    ):
        super().__init__(2, in_channels, out_channels, filters, batch_statistics)
        self.report_input = (in_channels, 72, 72)


def flatten_kernels(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The 2D network's weights from the 3D one's (``genesis_unet3d``, kernels (k, j, i)).

    Kernels of convolutions are summed over k, those of the transposed convolutions averaged: so the encoder
    gives what the 3D one gives for a volume that is constant and goes on along k, and each 2D step up gives
    the mean of the two slices that its 3D form makes of one.  The report says no more than "flatten".
    """
    return {
        key: _flat(value, mean=".up_conv." in f".{key}") if value.dim() == 5 else value
        for key, value in state.items()
    }


def _flat(kernel: torch.Tensor, *, mean: bool) -> torch.Tensor:
    return kernel.mean(dim=2) if mean else kernel.sum(dim=2)
