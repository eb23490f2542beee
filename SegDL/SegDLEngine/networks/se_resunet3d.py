"""The SE-Norm residual 3D U-Net of report 000: head and neck tumours in PET/CT.

Layout of Iantsen, Visvikis, Hatt, "Squeeze-and-Excitation Normalization for Automated Delineation of Head and
Neck Primary Tumors in Combined PET and CT Images" (HECKTOR 2020).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch

from SegDLEngine.networks.blocks_se import ResidualSE3d, Unit
from SegDLEngine.networks.se_unet import SEUNet3d


class SEResUNet3d(SEUNet3d):
    """(N, in_channels, k, j, i) to logits (N, out_channels, k, j, i), sigmoid outside; sides divisible by 16.

    The defaults are the report's largest network with 21,751,681 parameters; its inputs are CT and PET, in
    this order, its label one channel.

    - ``filters``: channels of the first level (report: 24, 16, 15, 14, 10 and 2), doubled at each of the
      four poolings;
    - ``pathway``: upsampling pathway from the decoder levels to the last one;
    - ``normalisation``: "instance" or "batch", inside the SE norm; the batch form has no scale and shift
      of its own, a choice that the report leaves open.
    """

    def __init__(
        self,
        in_channels: int = 2,
        out_channels: int = 1,
        filters: int = 24,
        pathway: bool = True,
        normalisation: str = "instance",
    ):
        super().__init__(
            in_channels, out_channels, filters, pathway, normalisation, residual_units, lambda *_: []
        )


def residual_units(level: int, channels_in: int, width: int, normalisation: str) -> list[Unit]:
    """Two residual SE units at the first level, its first with a 7x7x7 kernel; three at the others."""
    count, kernel = (2, 7) if level == 0 else (3, 3)
    first = ResidualSE3d(channels_in, width, kernel, normalisation)
    return [first, *(ResidualSE3d(width, width, 3, normalisation) for _ in range(count - 1))]


def rename_public(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights of the published HECKTOR 2020 network under this network's names."""
    return {_renamed(key): value for key, value in state.items()}


def _renamed(key: str) -> str:
    for pattern, replacement in _PUBLIC_NAMES:
        key = re.sub(pattern, replacement, key)
    return key


# Applied in this order; the decoder and the pathway count from the lowest level, 4, up to 1.
_PUBLIC_NAMES: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"^block_(\d)_(\d)_left\.", lambda found: f"encoder.{int(found[1]) - 1}.{int(found[2]) - 1}."),
    (r"^block_(\d)_1_right\.", lambda found: f"decoder.{4 - int(found[1])}.first."),
    (r"^block_(\d)_2_right\.", lambda found: f"decoder.{4 - int(found[1])}.second."),
    (r"^upconv_(\d)\.", lambda found: f"decoder.{4 - int(found[1])}.up."),
    (r"^vision_(\d)\.conv\.", lambda found: f"pathway.{4 - int(found[1])}."),
    (r"^conv1x1\.", "output."),
    (r"^(encoder\.\d\.\d)\.conv1\.", r"\1.unit."),
    (r"^(encoder\.\d\.\d)\.res_conv\.", r"\1.shortcut."),
    (r"\.gamma\.", ".scale."),
    (r"\.beta\.", ".shift."),
    (r"\.(scale|shift)\.conv1\.", r".\1.0."),
    (r"\.(scale|shift)\.conv2\.", r".\1.2."),
)
