"""Finding the cases of a data set by the layout of its folder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from SegDLEngine.errors import InputError
from SegDLEngine.models.card import ModelCard

from SegDLTrainingLib.data.cases import CaseEntry, CaseList, Problem
from SegDLTrainingLib.data.layout_brats import brats_cases, is_brats
from SegDLTrainingLib.data.layout_dicom import dicom_cases, is_dicom_tree
from SegDLTrainingLib.data.layout_folders import folder_cases, is_folders
from SegDLTrainingLib.data.layout_hecktor import hecktor_cases, is_hecktor
from SegDLTrainingLib.data.layout_nnunet import LABEL_NAMES, is_msd, is_nnunet, msd_cases, nnunet_cases
from SegDLTrainingLib.data.manifest import read_manifest
from SegDLTrainingLib.data.names import composed

Find = Callable[[Path, ModelCard], tuple[list[CaseEntry], list[Problem]]]


@dataclass(frozen=True)
class Layout:
    """``matches`` looks at names alone; ``find`` lists the cases of a folder."""

    title: str
    matches: Callable[[Path], bool]
    find: Find


# In the order in which 'auto' tries them: the most particular first.
LAYOUTS: dict[str, Layout] = {
    "nnunet": Layout("nnU-Net raw (imagesTr/NAME_0000, labelsTr, dataset.json)", is_nnunet, nnunet_cases),
    "msd": Layout("Medical Segmentation Decathlon (dataset.json with a list of training)", is_msd, msd_cases),
    "hecktor": Layout("HECKTOR (ID_ct, ID_pt, ID_gtvt, or imagesTr/ID__CT)", is_hecktor, hecktor_cases),
    "brats": Layout("BraTS (patient folders with _t1, _t1ce, _t2, _flair, _seg)", is_brats, brats_cases),
    "dicom": Layout("DICOM (a folder for each patient; SEG or RTSTRUCT)", is_dicom_tree, dicom_cases),
    "folders": Layout("a folder for each patient with files named like the inputs", is_folders, folder_cases),
}


def find_cases(
    source: str | Path,
    card: ModelCard,
    *,
    layout: str = "auto",
    label_map: Mapping[str, int] | None = None,
) -> CaseList:
    """The cases of a manifest (.csv, .json) or of a folder in one of the ``LAYOUTS``.

    ``label_map`` replaces what the layout says of labels, see ``CaseEntry``.  Cases that cannot be told, or
    have one name, are in ``problems``.  Raises InputError when there is nothing to be found at all.
    """
    path = Path(source).expanduser()
    if not path.exists():
        raise InputError(f"The data '{path}' do not exist.", hint="Give a folder or a manifest.")
    if path.is_file():
        found = read_manifest(path, card)
    else:
        try:
            name = _detected(path) if layout == "auto" else _known(layout)
            cases, problems = LAYOUTS[name].find(path, card)
        except OSError as error:
            raise InputError(
                f"'{error.filename or path}' cannot be read: {error.strerror or error}.",
                hint="Allow reading it, or give a manifest of the other cases.",
            ) from error
        found = CaseList(name, cases, problems)
        if not cases and not problems:
            raise InputError(
                f"'{path}' has no cases in the layout '{name}' ({LAYOUTS[name].title}).", hint=_hint()
            )
    if label_map:
        found = CaseList(
            found.layout,
            [replace(case, label_map=dict(label_map)) for case in found.cases],
            [problem for problem in found.problems if problem.code != LABEL_NAMES],
        )
    return _with_clear_names(found)


def _with_clear_names(found: CaseList) -> CaseList:
    """The cases in order of their names, which are spelled in one way; those with one name are a problem."""
    cases = [
        replace(case, name=composed(case.name), patient=composed(case.patient), centre=composed(case.centre))
        for case in found.cases
    ]
    problems = [replace(problem, case=composed(problem.case)) for problem in found.problems]
    named: dict[str, list[CaseEntry]] = defaultdict(list)
    for case in cases:
        named[case.name].append(case)
    problems += [_one_name(name, several) for name, several in named.items() if len(several) > 1]
    return CaseList(found.layout, sorted(cases, key=lambda case: case.name), problems)


def _one_name(name: str, cases: Sequence[CaseEntry]) -> Problem:
    places = [next(iter(case.inputs.values()), case.labels or "no file") for case in cases]
    text = f"{len(cases)} cases have this name: {', '.join(places)}."
    return Problem("error", "name", name, text, "Leave one of them out, or name them in a manifest.")


def _detected(path: Path) -> str:
    for name, layout in LAYOUTS.items():
        if layout.matches(path):
            return name
    raise InputError(f"The layout of '{path}' is none that is known.", hint=_hint())


def _known(layout: str) -> str:
    if layout not in LAYOUTS:
        raise InputError(f"There is no layout '{layout}'.", hint=_hint())
    return layout


def _hint() -> str:
    return f"Layouts: {', '.join(LAYOUTS)}; or give a manifest in CSV or JSON."
