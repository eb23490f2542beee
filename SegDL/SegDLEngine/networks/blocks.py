"""Building blocks that the 2D networks share.  Tensors are (batch, channels, rows j, columns i)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

NORMALISATIONS = (None, "batch", "instance", "group")


def normalisation(kind: str | None, channels: int) -> nn.Module:
    """The normalisation of that name; None gives the identity, "instance" an affine instance norm.

    Instance norm is written as group norm with one channel a group: the same numbers, faster on a CPU.
    """
    if kind is None:
        return nn.Identity()
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if kind == "instance":
        return nn.GroupNorm(channels, channels)
    if kind == "group":
        groups = next(count for count in (8, 4, 2, 1) if channels % count == 0)
        return nn.GroupNorm(groups, channels)
    raise TypeError(f"normalisation '{kind}' is none of {', '.join(map(str, NORMALISATIONS))}")


class SameConv2d(nn.Conv2d):
    """A convolution whose output has the input's size, as Keras' 'same' makes it.

    Odd kernels are padded alike on both sides; an even kernel gets its extra row and column at the bottom
    and right, so weights of a Keras network keep their meaning.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: int, *, bias: bool = True):
        odd = kernel % 2 == 1
        super().__init__(
            channels_in, channels_out, kernel, padding=(kernel - 1) // 2 if odd else 0, bias=bias
        )
        before, after = (kernel - 1) // 2, kernel // 2
        self.edges = None if odd else (before, after, before, after)
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input if self.edges is None else functional.pad(input, self.edges))


class ConvUnit(nn.Module):
    """'Same' convolution, optional normalisation, ReLU."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, norm: str | None = None):
        super().__init__()
        self.conv = SameConv2d(channels_in, channels_out, kernel, bias=norm is None)
        self.norm = normalisation(norm, channels_out)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.activation(self.norm(self.conv(features)))


class ConcatConvUnit(ConvUnit):
    """A ``ConvUnit`` with an odd kernel over [skip, up], which can also be computed in two parts.

    A convolution over a concatenation is the sum of the convolutions over its halves.  Monte Carlo
    dropout computes the half of a skip that stays the same in all passes only once.
    """

    def __init__(self, skip: int, up: int, channels_out: int, kernel: int, norm: str | None = None):
        super().__init__(skip + up, channels_out, kernel, norm)
        self.skip_channels = skip

    def skip_part(self, skip: torch.Tensor) -> torch.Tensor:
        """The part of the sum that comes from the skip, with the bias."""
        return functional.conv2d(
            skip, self.conv.weight[:, : self.skip_channels], self.conv.bias, padding=self.conv.padding
        )

    def add_up_part(self, part: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        """The unit's output from ``skip_part`` of the skip and the upsampled features."""
        rest = functional.conv2d(up, self.conv.weight[:, self.skip_channels :], padding=self.conv.padding)
        return self.activation(self.norm(rest.add_(part)))
