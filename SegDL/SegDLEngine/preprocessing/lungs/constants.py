"""The numbers of the lung isolation, in HU, mm and mm2, so that every pixel size is treated alike."""

from __future__ import annotations

from dataclasses import dataclass, fields

from SegDLEngine.errors import ModelError


@dataclass(frozen=True)
class LungConstants:
    """Defaults are report 001's and its published code's, whose pixels measure about 1 mm; a model card may
    state others."""

    tissue_hu: float = -500.0
    body_opening_mm: float = 3.0
    couch_hu: float = -700.0
    couch_width: float = 0.4
    couch_aspect: float = 4.0
    air_hu: float = -320.0
    gas_hu: float = -930.0
    small_mm2: float = 0.0069 * 512**2
    minimum_ratio: float = 0.6
    remnant_ratio: float | None = 0.05
    vessel_closing_mm: float = 3.0
    hole_mm2: float = 5000.0
    bone_hu: float = 100.0
    spine_depth_mm: float = 45.0
    spine_terms: int = 7
    spine_plateau: float = 0.75
    spine_half_width: float = 0.15
    spine_start_slices: int = 5
    spine_alpha: float = 0.3
    hilum_mm: float = 15.0
    mirror: bool = True
    smoothing_mm: float = 28.0
    dilation_mm: float = 5.0
    end_mm: float = 6.0

    @classmethod
    def of(cls, **constants: object) -> LungConstants:
        """The constants with some replaced; raises ModelError for a name that does not exist."""
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(constants) - known)
        if unknown:
            raise ModelError(
                f"Lung isolation has no constant named {', '.join(unknown)}.",
                hint=f"Known constants: {', '.join(sorted(known))}.",
            )
        return cls(**constants)  # type: ignore[arg-type]
