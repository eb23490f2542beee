"""The 3D U-Net of Models Genesis (report 003)."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from SegDLEngine.networks.genesis_unet import GenesisUNet


class GenesisUNet3d(GenesisUNet):
    """(N, in_channels, k, j, i) to logits (N, out_channels, k, j, i), sigmoid outside; sides divisible by 8.

    19,073,665 parameters with the published ``filters``; see ``GenesisUNet`` for the options.  Input of the
    public weights: CT from -1000..1000 HU to 0..1, in cubes of 64 x 64 x 32 (i, j, k).
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        filters: int = 32,
        batch_statistics: bool = False,
    ):
        super().__init__(3, in_channels, out_channels, filters, batch_statistics)
        self.report_input = (in_channels, 32, 64, 64)


def reorder_kernels(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights for tensors (i, j, k), as the public ones, turned into weights for (k, j, i)."""
    return {
        key: value.permute(0, 1, 4, 3, 2).contiguous() if value.dim() == 5 else value
        for key, value in state.items()
    }
