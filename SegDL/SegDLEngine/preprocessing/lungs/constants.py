"""The numbers of the lung isolation, in HU, mm and mm2, so that every pixel size is treated alike."""

from __future__ import annotations

from dataclasses import dataclass, fields

from SegDLEngine.errors import ModelError


@dataclass(frozen=True)
class LungConstants:
    """What a model card may state.  The numbers of report 001 and of its published code, whose pixels measure
    about 1 mm, are marked R; the others are this isolation's own."""

    # body and couch
    tissue_hu: float = -500.0
    body_opening_mm: float = 3.0
    couch_hu: float = -700.0
    couch_width: float = 0.4
    couch_aspect: float = 4.0
    # air, airways and the pair of lungs
    air_hu: float = -320.0  # R
    small_mm2: float = 0.0069 * 512**2  # R
    gas_hu: float = -930.0
    seed_mm2: float = 200.0
    minimum_ratio: float = 0.6  # R
    remnant_ratio: float | None = 0.05
    # vessels
    vessel_closing_mm: float = 3.0
    hole_mm2: float = 5000.0
    # spine axis
    bone_hu: float = 100.0  # R
    spine_depth_mm: float = 45.0
    spine_terms: int = 7  # R
    spine_plateau: float = 0.75
    spine_half_width: float = 0.15  # R
    spine_start_slices: int = 5  # R
    spine_alpha: float = 0.3  # R
    # from the lungs to the region
    mirror: bool = True  # R
    hilum_mm: float = 15.0
    smoothing_mm: float = 28.0  # R
    dilation_mm: float = 5.0  # R
    end_mm: float = 6.0  # R

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "remnant_ratio" and value is None:
                continue
            if isinstance(value, bool) != (field.name == "mirror") or not isinstance(value, (int, float)):
                self._refuse(field.name, "is not of its kind")
            if not field.name.endswith("_hu") and not 0 <= value < float("inf"):
                self._refuse(field.name, "is negative or not finite")
        for name in ("spine_terms", "spine_start_slices"):
            if int(getattr(self, name)) != getattr(self, name) or getattr(self, name) < 1:
                self._refuse(name, "is no positive whole number")
        for name in ("spine_alpha", "spine_plateau"):
            if not 0 < getattr(self, name) <= 1:
                self._refuse(name, "is not in (0, 1]")

    def _refuse(self, name: str, cause: str) -> None:
        raise ModelError(
            f"Constant '{name}' of the lung isolation is {getattr(self, name)!r}, which {cause}.",
            hint=f"Its default is {getattr(type(self), name)!r}.",
        )

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
