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
    """The ``values`` of a figure in a ``group`` of cases; in ``undefined`` further ones it has none."""

    group: str
    values: tuple[float, ...]
    undefined: int = 0

    def row(self) -> dict[str, Any]:
        """Cases, undefined ones, and mean, median and interquartile range; None where nothing is defined."""
        values = self.values
        row: dict[str, Any] = {"group": self.group, "cases": len(values), "undefined": self.undefined}
        if not values:
            return {**row, "mean": None, "median": None, "iqr": None}
        spread = 0.0
        if len(values) > 1:
            low, _, high = statistics.quantiles(values, n=4, method="inclusive")
            spread = high - low
        figures = (statistics.fmean(values), statistics.median(values), spread)
        return {
            **row,
            **{name: round(value, 4) for name, value in zip(("mean", "median", "iqr"), figures, strict=True)},
        }


def thickness_group(spacing_mm: float) -> str:
    """Thin or thick slices, divided at 2.5 mm."""
    return f"slices < {THIN_MM:g} mm" if spacing_mm < THIN_MM else f"slices >= {THIN_MM:g} mm"


def size_group(diameter_mm: float) -> str:
    """The interval of the T stage's diameters that a lesion falls into; "no tumour" for 0."""
    if diameter_mm <= 0:
        return "no tumour"
    for low, high in zip((0.0, *STAGES_MM), STAGES_MM, strict=False):
        if diameter_mm <= high:
            return f"{low:g}-{high:g} mm"
    return f"> {STAGES_MM[-1]:g} mm"


def stratify(rows: Iterable[Mapping[str, Any]], by: str, figure: str) -> list[Stratum]:
    """``figure`` of the rows gathered by their ``by``, in order of name.

    Raises InputError when a row lacks ``by``.
    """
    groups: dict[str, list[float | None]] = {}
    for row in rows:
        if row.get(by) in (None, ""):
            raise InputError(
                f"Case '{row.get('case', '?')}' has no '{by}'.",
                hint="Give the property of every case in the table of attributes, or leave the case out.",
            )
        groups.setdefault(str(row[by]), []).append(row.get(figure))
    if not groups:
        raise InputError(f"There are no cases to gather by '{by}'.")
    return [_stratum(name, groups[name]) for name in sorted(groups)]


def _stratum(name: str, figures: Sequence[float | None]) -> Stratum:
    values = tuple(float(figure) for figure in figures if figure is not None)
    return Stratum(name, values, len(figures) - len(values))
