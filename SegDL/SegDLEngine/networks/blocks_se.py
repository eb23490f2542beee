"""Units of report 000's networks: SE norm, residual and recurrent units.  Tensors (N, C, k, j, i)."""

from __future__ import annotations

import torch
from torch import nn

from SegDLEngine.networks.layers import InstanceNorm

INNER_NORMALISATIONS = ("instance", "batch")


def inner_normalisation(kind: str, channels: int) -> nn.Module:
    """Instance or batch norm without scale and shift, so both have the same number of parameters."""
    if kind == "instance":
        return InstanceNorm(channels)
    if kind == "batch":
        return nn.BatchNorm3d(channels, affine=False)
    raise TypeError(f"normalisation '{kind}' is none of {', '.join(INNER_NORMALISATIONS)}")


def _excitation(channels: int) -> nn.Sequential:
    """Bottleneck of half the channels."""
    return nn.Sequential(
        nn.Conv3d(channels, channels // 2, 1), nn.ReLU(inplace=True), nn.Conv3d(channels // 2, channels, 1)
    )


class SENorm3d(nn.Module):
    """Normalisation whose scale (0..1) and shift (-1..1) depend on the means of the channels before it.

    Iantsen, Visvikis, Hatt: "Squeeze-and-Excitation Normalization for Automated Delineation of Head and Neck
    Primary Tumors in Combined PET and CT Images" (HECKTOR 2020).
    """

    def __init__(self, channels: int, normalisation: str = "instance"):
        super().__init__()
        self.norm = inner_normalisation(normalisation, channels)
        self.scale = _excitation(channels)
        self.shift = _excitation(channels)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        means = features.mean(dim=(2, 3, 4), keepdim=True)
        scale = torch.sigmoid(self.scale(means))
        return torch.addcmul(torch.tanh(self.shift(means)), scale, self.norm(features))


class Unit(nn.Module):
    """A step of an encoder or decoder; ``reach`` is its part of the receptive field's path."""

    reach: tuple[str, ...]


class SEConv3d(Unit):
    """'Same' convolution, ReLU, SE norm: the norm comes after the ReLU."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, normalisation: str = "instance"):
        super().__init__()
        self.conv = nn.Conv3d(channels_in, channels_out, kernel, padding=kernel // 2)
        self.activation = nn.ReLU(inplace=True)
        self.norm = SENorm3d(channels_out, normalisation)
        self.reach = (f"conv{kernel}",)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.norm(self.activation(self.conv(features)))


class ResidualSE3d(Unit):
    """An SE convolution plus its input; where channels change, the input through a 1x1x1 SE convolution."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, normalisation: str = "instance"):
        super().__init__()
        self.unit = SEConv3d(channels_in, channels_out, kernel, normalisation)
        self.shortcut = (
            nn.Identity()
            if channels_in == channels_out
            else SEConv3d(channels_in, channels_out, 1, normalisation)
        )
        self.reach = self.unit.reach

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.unit(features) + self.shortcut(features)


class RecurrentUnit3d(nn.Module):
    """One shared K (convolution, norm, ReLU) applied ``steps`` + 1 times: s = K(x), then s = K(x + s)."""

    def __init__(self, channels: int, steps: int, normalisation: str):
        super().__init__()
        self.steps = steps
        self.shared = nn.Sequential(
            nn.Conv3d(channels, channels, 3, padding=1),
            inner_normalisation(normalisation, channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        state = self.shared(features)
        for _ in range(self.steps):
            state = self.shared(features + state)
        return state


class RRCNN3d(Unit):
    """Recurrent residual unit: u = 1x1x1 convolution of the input; u + two recurrent units in series of u.

    Alom et al. 2018, "Recurrent Residual Convolutional Neural Network based on U-Net", in 3D, with an
    instance norm without scale and shift and with biases (the report leaves both open).
    """

    def __init__(self, channels_in: int, channels_out: int, steps: int = 2, normalisation: str = "instance"):
        super().__init__()
        self.entry = nn.Conv3d(channels_in, channels_out, 1)
        self.units = nn.Sequential(
            RecurrentUnit3d(channels_out, steps, normalisation),
            RecurrentUnit3d(channels_out, steps, normalisation),
        )
        self.reach = ("conv3",) * (2 * (steps + 1))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        entered = self.entry(features)
        return entered + self.units(entered)
