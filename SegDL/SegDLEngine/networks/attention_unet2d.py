"""The 2D Attention U-Net (report 003)."""

from __future__ import annotations

from SegDLEngine.networks.attention_unet import AttentionUNet


class AttentionUNet2d(AttentionUNet):
    """(N, in_channels, j, i) to logits (N, out_channels, j, i), softmax outside; sides divisible by 16.

    The published 3D network with 2D layers: the report trains it on slices and gives no widths;
    ``filters`` 64 makes it as wide as a U-Net.  Options: ``AttentionUNet``.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 2,
        filters: int = 16,
        deep_supervision: bool = True,
    ):
        super().__init__(2, in_channels, out_channels, filters, deep_supervision)
        self.report_input = (in_channels, 512, 512)
