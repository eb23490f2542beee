"""The transforms of a MONAI bundle as steps of a model card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from SegDLEngine.models.importers.imported import refused
from SegDLEngine.models.importers.monai_config import is_known, target

# Letters of MONAI's orientation codes as axes of a grid in LPS orientation.
_AXES = {"L": "i", "R": "-i", "P": "j", "A": "-j", "S": "k", "I": "-k"}
# What these do is done by reading and by the pipeline anyway.
_NOTHING = {
    "LoadImage",
    "EnsureChannelFirst",
    "EnsureType",
    "ToTensor",
    "CastToType",
    "AsChannelFirst",
    "AddChannel",
    "ToDevice",
    "SqueezeDim",
    "Identity",
}
_FOREGROUND = "foreground"


@dataclass
class Plan:
    """``steps`` of the card; ``axes`` of the network's tensors; ``notes``: how the card differs."""

    axes: tuple[str, ...] = ("i", "j", "k")
    spacing: tuple[float, ...] | None = None
    steps: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def plan_of(transforms: Sequence[Any], source: str) -> Plan:
    """The transforms of ``preprocessing`` in order; raises ModelError for one that no step can serve.

    Without a transform of orientation the axes are those of LPS files, as most are.
    """
    plan = Plan()
    for entry in transforms:
        name = target(entry).removesuffix("d").removesuffix("D").removesuffix("Dict")
        if name in _NOTHING or entry.get("_disabled_") is True:
            continue
        handle = _HANDLERS.get(name)
        if handle is None:
            raise refused(
                source,
                f"its preprocessing has the transform {target(entry) or entry}, which SegDL has no step for",
                f"Known: {', '.join(sorted(_HANDLERS))}.",
            )
        handle(plan, _Arguments(entry, source))
    if plan.spacing is not None:
        spacing = dict(zip((axis[-1] for axis in plan.axes), plan.spacing, strict=True))
        canonical = {"step": "canonical", "spacing": [spacing[axis] for axis in "ijk"]}
        plan.steps.insert(0, canonical)
    return plan


class _Arguments:
    """The arguments of one transform, which must not be expressions."""

    def __init__(self, entry: Mapping[str, Any], source: str):
        self._entry = entry
        self._source = source

    def get(self, name: str, default: Any = None) -> Any:
        value = self._entry.get(name, default)
        if not is_known(value):
            raise refused(
                self._source,
                f"{target(self._entry)}.{name} is a Python expression, which is never evaluated",
                "Write its value into the configuration.",
            )
        return value

    def refuse(self, reason: str) -> Exception:
        return refused(self._source, f"{target(self._entry)}: {reason}", "Change the bundle's configuration.")


def _orientation(plan: Plan, arguments: _Arguments) -> None:
    codes = str(arguments.get("axcodes", "RAS"))
    if len(codes) != 3 or any(code not in _AXES for code in codes):
        raise arguments.refuse(f"axcodes '{codes}' are not three of L, R, P, A, S, I")
    plan.axes = tuple(_AXES[code] for code in codes)


def _spacing(plan: Plan, arguments: _Arguments) -> None:
    lengths = arguments.get("pixdim", [])
    lengths = [lengths] * 3 if isinstance(lengths, (int, float)) else lengths
    if len(lengths) != 3 or not min(lengths) > 0:
        raise arguments.refuse(f"pixdim {lengths} is not three positive lengths")
    if plan.steps:
        plan.notes.append("grey values are changed after, not before, the images are resampled")
    plan.spacing = tuple(float(length) for length in lengths)


def _range(plan: Plan, arguments: _Arguments) -> None:
    low, high = float(arguments.get("a_min")), float(arguments.get("a_max"))
    bottom, top = (arguments.get(name) for name in ("b_min", "b_max"))
    bottom, top = (0.0, 1.0) if bottom is None or top is None else (float(bottom), float(top))
    if not high > low:
        raise arguments.refuse(f"a_max {high} is not above a_min {low}")
    if arguments.get("clip", False):
        plan.steps.append({"step": "clip", "low": low, "high": high})
    _linear(plan, -low, (top - bottom) / (high - low), bottom)


def _normalise(plan: Plan, arguments: _Arguments) -> None:
    mean, deviation = arguments.get("subtrahend"), arguments.get("divisor")
    if isinstance(mean, (int, float)) and isinstance(deviation, (int, float)):
        plan.steps.append({"step": "scale", "offset": -float(mean), "factor": 1 / float(deviation)})
        return
    if mean is not None or deviation is not None:
        raise arguments.refuse("subtrahend and divisor are not two numbers")
    if not arguments.get("nonzero", False):
        plan.steps.append({"step": "zscore"})
        return
    plan.steps.append({"step": "foreground_mask", "name": _FOREGROUND})
    plan.steps.append({"step": "zscore", "mask": _FOREGROUND, "outside": 0.0})
    plan.notes.append("the foreground is one mask for all inputs")


def _minmax(plan: Plan, arguments: _Arguments) -> None:
    low, high = arguments.get("minv", 0.0), arguments.get("maxv", 1.0)
    if low is None or high is None:
        raise arguments.refuse("without minv and maxv it scales by a factor that SegDL has no step for")
    plan.steps.append({"step": "stretch"})
    if (low, high) != (0, 1):
        _linear(plan, 0.0, float(high) - float(low), float(low))


def _crop_foreground(plan: Plan, arguments: _Arguments) -> None:
    plan.notes.append("the whole image is examined, not the box round its foreground")


def _linear(plan: Plan, offset: float, factor: float, added: float) -> None:
    """(value + offset) * factor + added."""
    plan.steps.append({"step": "scale", "offset": offset, "factor": factor})
    if added:
        plan.steps.append({"step": "scale", "offset": added})


_HANDLERS = {
    "Orientation": _orientation,
    "Spacing": _spacing,
    "ScaleIntensityRange": _range,
    "NormalizeIntensity": _normalise,
    "ScaleIntensity": _minmax,
    "CropForeground": _crop_foreground,
}
