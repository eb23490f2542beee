"""The 3D Attention U-Net (report 003)."""

from __future__ import annotations

from SegDLEngine.networks.attention_unet import AttentionUNet


class AttentionUNet3d(AttentionUNet):
    """(N, in_channels, k, j, i) to logits (N, out_channels, k, j, i), softmax outside; sides divisible by 16.

    6,213,613 parameters at a quarter of the widths of a U-Net, as published; options: ``AttentionUNet``.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 2,
        filters: int = 16,
        deep_supervision: bool = True,
    ):
        super().__init__(3, in_channels, out_channels, filters, deep_supervision)
        self.report_input = (in_channels, 96, 160, 160)
