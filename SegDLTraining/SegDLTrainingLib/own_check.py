"""The check of the user's cases before a training: everything that is wrong is told at once, by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from SegDLEngine.images.writing import replacing
from SegDLEngine.models.card import ModelCard
from SegDLEngine.protocol import Reporter

from SegDLTrainingLib.cache import CHECKED, mark_used
from SegDLTrainingLib.data.cases import CaseEntry, CaseList
from SegDLTrainingLib.data.check import check_cases
from SegDLTrainingLib.data.files import files_of
from SegDLTrainingLib.data.splits import Split, Splits
from SegDLTrainingLib.preparing import digest
from SegDLTrainingLib.recipes import Recipe
from SegDLTrainingLib.user_cases import found_cases, refuse, splits_of

STAGE = "checking"


def check_own_cases(recipe: Recipe, cache: Path, workers: int, reporter: Reporter) -> None:
    """Read the cases for training, validation and test as ``segdl-train data check`` does.

    Errors are raised together as one InputError, warnings go to the reporter.  Data that were found sound are
    not read again until a file, the split or the card changes; ``cache`` remembers it.
    """
    found = found_cases(recipe)
    divisions = splits_of(recipe, found.cases)
    if "meant_for" in divisions.options:
        parts = "/".join(str(len(names)) for names in divisions[_fold(recipe)].parts().values())
        reporter.warning(
            "division",
            f"The recipe's division is meant for {divisions.options['meant_for']} patients; with fewer, "
            f"training/validation/test are {parts} cases.",
        )
    whole = divisions[_fold(recipe)]
    test = [case for case in whole.of(found.cases, "test") if case.labels is not None]
    split = Split(whole.name, whole.training, whole.validation, [case.name for case in test])
    cases = [*split.of(found.cases, "training"), *split.of(found.cases, "validation"), *test]
    card = recipe.card
    files = {case.name: [_stamp(path) for path in _paths(case)] for case in cases}
    readings = [[case.label_map and dict(case.label_map), case.region, case.patient] for case in cases]
    how = [files, readings, split.parts(), card["inputs"], card["labels"], card["preprocessing"]]
    marker = cache / CHECKED / f"{digest(how)}.json"
    if marker.is_file():
        mark_used(marker)
        return
    splits = Splits(STAGE, recipe.seed, {}, [split])
    report = check_cases(CaseList(found.layout, cases), ModelCard(card), splits, reporter, workers)
    refuse(report.problems)
    for problem in report.problems:
        reporter.warning(problem.code, f"{problem.case}: {problem.text}" if problem.case else problem.text)
    marker.parent.mkdir(parents=True, exist_ok=True)
    with replacing(marker, ".json") as temporary:
        temporary.write_text(json.dumps(report.data(), indent=1) + "\n", encoding="utf-8")


def _fold(recipe: Recipe) -> str | int:
    return recipe["data"].get("fold", 0)


def _paths(case: CaseEntry) -> list[str]:
    return [path for _, path in sorted(case.inputs.items())] + ([case.labels] if case.labels else [])


def _stamp(path: str) -> list[Any]:
    """Name, size and time of the files that decide about what is read."""
    return [path, *([file.name, stat.st_size, stat.st_mtime_ns] for file, stat in _stats(files_of(path)))]


def _stats(files: list[Path]) -> list[tuple[Path, Any]]:
    """A file that has vanished has no time; reading the case names it."""
    return [(file, file.stat()) for file in files if file.exists()]
