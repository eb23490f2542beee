"""A case and a list of cases, as pure data: paths and names, nothing is read yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class CaseEntry:
    """One study of one patient.

    ``inputs``: path by input name of the model card, DICOM as ``folder#SeriesInstanceUID``; ``labels``: a
    labelmap, .seg.nrrd, DICOM SEG or RTSTRUCT, None without reference; ``centre``: where it was scanned;
    ``label_map``: from a value or segment name of the file (with wildcards) to a label value of the card, 0
    for background, None where values are the card's and segments are found by their codes; ``region``: the
    box to examine, (r_min, r_max, a_min, a_max, s_min, s_max) in mm RAS; ``extra``: what else a table said.
    """

    name: str
    patient: str
    inputs: Mapping[str, str]
    labels: str | None = None
    centre: str = ""
    label_map: Mapping[str, int] | None = None
    region: tuple[float, ...] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Problem:
    """What is wrong with ``case`` ('' for the whole data): an 'error' prevents training, a 'warning' not."""

    severity: str
    code: str
    case: str
    text: str
    hint: str = ""

    def row(self) -> dict[str, str]:
        return dict(vars(self))


@dataclass(frozen=True)
class CaseList:
    """``cases`` in order of their names, the ``layout`` they were found by, and what could not be used."""

    layout: str
    cases: list[CaseEntry]
    problems: list[Problem] = field(default_factory=list)
