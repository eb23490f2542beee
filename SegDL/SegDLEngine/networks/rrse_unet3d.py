"""The RRSE U-Nets of report 000, Table 5: the SE-Norm U-Net with recurrent residual units."""

from __future__ import annotations

from dataclasses import dataclass

from SegDLEngine.networks.blocks_se import RRCNN3d, Unit
from SegDLEngine.networks.se_resunet3d import residual_units
from SegDLEngine.networks.se_unet import LEVELS, SEUNet3d


@dataclass(frozen=True)
class Variant:
    """A row of Table 5: where recurrent residual units stand, and what else differs."""

    filters: int
    pathway: bool
    appended: tuple[int, ...] = ()
    replacing: bool = False
    decoder: bool = False


VARIANTS = {
    "M1": Variant(filters=10, pathway=False, appended=tuple(range(LEVELS)), decoder=True),
    "M2": Variant(filters=16, pathway=False, appended=tuple(range(LEVELS))),
    "M3": Variant(filters=16, pathway=True, appended=tuple(range(LEVELS - 1))),
    "M4": Variant(filters=16, pathway=True, replacing=True),
}


class RRSEUNet3d(SEUNet3d):
    """(N, in_channels, k, j, i) to logits (N, out_channels, k, j, i), sigmoid outside; sides divisible by 16.

    - ``variant``: "M1" appends a recurrent residual unit to every encoder and decoder level, "M2" to every
      encoder level, "M3" to all encoder levels but the lowest, "M4" puts it in place of the last residual
      unit of every encoder level; 6,126,341, 14,471,953, 10,872,017 and 11,943,697 parameters;
    - ``filters``: channels of the first level; None takes the variant's;
    - ``steps``: recurrent steps t of the shared convolution, which so runs t + 1 times;
    - ``normalisation``: "instance" or "batch", as in ``se_resunet3d``, also in the recurrent units.

    "Added to the last convolutional layer of each dimension" is read as: after the last unit of the level.
    """

    def __init__(
        self,
        variant: str = "M4",
        in_channels: int = 2,
        out_channels: int = 1,
        filters: int | None = None,
        steps: int = 2,
        normalisation: str = "instance",
    ):
        if variant not in VARIANTS:
            raise TypeError(f"variant '{variant}' is none of {', '.join(VARIANTS)}")
        layout = VARIANTS[variant]

        def encoder_units(level: int, channels_in: int, width: int, norm: str) -> list[Unit]:
            units = residual_units(level, channels_in, width, norm)
            if layout.replacing:
                units[-1] = RRCNN3d(width, width, steps, norm)
            elif level in layout.appended:
                units.append(RRCNN3d(width, width, steps, norm))
            return units

        def decoder_tail(level: int, width: int, norm: str) -> list[Unit]:
            return [RRCNN3d(width, width, steps, norm)] if layout.decoder else []

        super().__init__(
            in_channels,
            out_channels,
            filters or layout.filters,
            layout.pathway,
            normalisation,
            encoder_units,
            decoder_tail,
        )
