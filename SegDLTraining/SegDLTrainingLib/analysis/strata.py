"""Figures of single cases, gathered by slice thickness, tumour size or any property that a table names.

Report 001 asks for results by slice thickness, tumour size, tumour location and image difficulty, report 000
by centre and report 002 by the modalities that were given.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from SegDLEngine.errors import InputError

# Slice thickness (mm) at which the reference of report 001 divides its cases.
THIN_MM = 2.5
# Largest diameter (mm) at the steps of the T stage (TNM, 8th edition).
STAGES_MM = (10.0, 20.0, 30.0, 40.0, 50.0, 70.0)


@dataclass(frozen=True)
class Stratum:
    """``count`` cases of a ``group``, with the mean, median and interquartile range of a figure."""

    group: str
    count: int
    mean: float
    median: float
    quartiles: tuple[float, float]

    def row(self) -> dict[str, Any]:
        low, high = self.quartiles
        return {
            "group": self.group,
            "cases": self.count,
            "mean": round(self.mean, 4),
            "median": round(self.median, 4),
            "iqr": round(high - low, 4),
        }


def thickness_group(spacing_mm: float) -> str:
    """Thin or thick slices, divided at 2.5 mm."""
    return f"slices < {THIN_MM:g} mm" if spacing_mm < THIN_MM else f"slices >= {THIN_MM:g} mm"


def size_group(diameter_mm: float) -> str:
    """The interval of the T stage's diameters that a lesion falls into; "none" for 0."""
    if diameter_mm <= 0:
        return "no tumour"
    for low, high in zip((0.0, *STAGES_MM), STAGES_MM, strict=False):
        if diameter_mm <= high:
            return f"{low:g}-{high:g} mm"
    return f"> {STAGES_MM[-1]:g} mm"


def stratify(
    rows: Iterable[Mapping[str, Any]], by: str, figure: str, order: Sequence[str] = ()
) -> list[Stratum]:
    """``figure`` of the rows gathered by their ``by``, in the given order, else by name; undefined ones out.

    Raises InputError when a row lacks ``by``.
    """
    groups: dict[str, list[float]] = {}
    for row in rows:
        if row.get(by) in (None, ""):
            raise InputError(
                f"Case '{row.get('case', '?')}' has no '{by}'.",
                hint="Give the property of every case in the table of attributes, or leave the case out.",
            )
        values = groups.setdefault(str(row[by]), [])
        if row.get(figure) is not None:
            values.append(float(row[figure]))
    if not groups:
        raise InputError(f"There are no cases to gather by '{by}'.")
    known = [name for name in order if name in groups]
    names = known + sorted(set(groups) - set(known))
    return [_stratum(name, groups[name]) for name in names if groups[name]]


def _stratum(name: str, values: Sequence[float]) -> Stratum:
    quartiles = (values[0], values[0])
    if len(values) > 1:
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
        quartiles = (low, high)
    return Stratum(name, len(values), statistics.fmean(values), statistics.median(values), quartiles)
