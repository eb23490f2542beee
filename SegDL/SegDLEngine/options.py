"""What the user may choose for one segmentation, and the check that it makes sense."""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from SegDLEngine.errors import InputError

PRECISIONS = ("auto", "fp32", "bf16")
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


@dataclass(frozen=True)
class SegmentOptions:
    """Options of ``pipeline.segment``; None leaves the choice to the model card.

    - ``samples``: Monte Carlo dropout passes, 0 for none;
    - ``device``: "auto", "cpu", "cuda", "cuda:<n>" or "mps";
    - ``precision``: "auto", "fp32" or "bf16";
    - ``seed``: of the dropout masks, 0 or more;
    - ``roi``: the region to segment as (r_min, r_max, a_min, a_max, s_min, s_max), millimetres in RAS;
      outside it the result is empty;
    - ``minimum_ml``: lesions with a smaller volume are removed;
    - ``threshold``: probability (0..1, both excluded) from which a voxel is foreground.

    Raises InputError for a value that cannot be used.
    """

    samples: int | None = None
    device: str = "auto"
    precision: str = "auto"
    seed: int = 0
    roi: tuple[float, ...] | None = None
    minimum_ml: float | None = None
    threshold: float | None = None

    def __post_init__(self) -> None:
        if self.samples is not None:
            _whole("samples", self.samples, 0, 10_000)
        _whole("seed", self.seed, 0, 2**63 - 1)
        if not isinstance(self.device, str) or not _DEVICE.fullmatch(self.device):
            raise InputError(
                f"Option 'device' is '{self.device}'.", hint="Use auto, cpu, cuda, cuda:<number> or mps."
            )
        if self.precision not in PRECISIONS:
            raise InputError(
                f"Option 'precision' is '{self.precision}'.", hint=f"Use one of {', '.join(PRECISIONS)}."
            )
        if self.minimum_ml is not None and _number("minimum_ml", self.minimum_ml) < 0:
            raise InputError(f"Option 'minimum_ml' is {self.minimum_ml}.", hint="Use 0 or more millilitres.")
        if self.threshold is not None and not 0 < _number("threshold", self.threshold) < 1:
            raise InputError(f"Option 'threshold' is {self.threshold}.", hint="Use a number between 0 and 1.")
        if self.roi is not None:
            object.__setattr__(self, "roi", _box(self.roi))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> SegmentOptions:
        """The options of a dictionary such as a worker's command; an unknown name is an InputError."""
        known = {item.name for item in fields(cls)}
        for name in values:
            if name not in known:
                raise InputError(
                    f"There is no option '{name}'.", hint=f"Known options: {', '.join(sorted(known))}."
                )
        return cls(**values)

    def as_mapping(self) -> dict[str, Any]:
        """The options as a dictionary that JSON can hold."""
        return {
            name: list(value) if name == "roi" and value else value for name, value in asdict(self).items()
        }


def _whole(name: str, value: Any, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not low <= int(value) <= high:
        raise InputError(f"Option '{name}' is {value!r}.", hint=f"Use a whole number from {low} to {high}.")


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise InputError(f"Option '{name}' is {value!r}.", hint="Use a number.")
    return float(value)


def _box(values: Any) -> tuple[float, ...]:
    hint = "Use six numbers in millimetres, RAS: r_min, r_max, a_min, a_max, s_min, s_max."
    try:
        box = tuple(_number("roi", value) for value in values)
    except TypeError:
        raise InputError(f"Option 'roi' is {values!r}.", hint=hint) from None
    if len(box) != 6 or any(low >= high for low, high in zip(box[::2], box[1::2], strict=True)):
        raise InputError(f"Option 'roi' is {list(box)}.", hint=hint)
    return box
