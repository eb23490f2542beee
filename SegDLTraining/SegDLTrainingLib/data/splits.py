"""Splits of cases into training, validation and test: by patient, seeded, stored as JSON.

The order in which patients are drawn is that of a hash of seed and patient.  It depends neither on the order
of the cases nor on the version of a random generator, and a patient who is added or removed leaves the order
of the others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from SegDLEngine.errors import InputError
from SegDLEngine.images.writing import replacing

from SegDLTrainingLib.data.cases import CaseEntry
from SegDLTrainingLib.data.names import composed

SCHEMA_NAME = "segdl-splits-1"
PARTS = ("training", "validation", "test")
REFUSE, IN_PROPORTION = "refuse", "in proportion"
OWN_SPLIT = "Divide the cases with 'segdl-train data split' and name its file with --splits, or add cases."


@dataclass(frozen=True)
class Split:
    """One division of the cases: their names by part, each part sorted."""

    name: str
    training: list[str]
    validation: list[str]
    test: list[str] = field(default_factory=list)

    def parts(self) -> dict[str, list[str]]:
        return {part: getattr(self, part) for part in PARTS}

    def of(self, cases: Sequence[CaseEntry], part: str) -> list[CaseEntry]:
        """The entries of a part; raises InputError if one of its cases is not among ``cases``."""
        by_name = {case.name: case for case in cases}
        missing = [name for name in self.parts()[part] if name not in by_name]
        if missing:
            raise InputError(
                f"Split '{self.name}': the {part} case '{missing[0]}' is not among the data.",
                hint="Make the split again from these data.",
            )
        return [by_name[name] for name in self.parts()[part]]


@dataclass(frozen=True)
class Splits:
    """Divisions by one ``method`` with its ``options``."""

    method: str
    seed: int
    options: dict[str, Any]
    splits: list[Split]

    def __getitem__(self, name: str | int) -> Split:
        """A split by name or number; raises InputError if there is none."""
        if isinstance(name, int) and 0 <= name < len(self.splits):
            return self.splits[name]
        for split in self.splits:
            if split.name == name:
                return split
        known = ", ".join(split.name for split in self.splits)
        raise InputError(f"There is no split '{name}'.", hint=f"The splits are {known}.")


def hold_out(cases: Sequence[CaseEntry], seed: int, *, ratio: Sequence[float] = (4, 1)) -> Splits:
    """Training : validation (: test) by ``ratio`` of patients: 4:1 of 224 are 179 and 45, 6:1 192 and 32.

    No part is empty as long as there are patients for all of them.
    """
    patients = shuffled_patients(cases, seed)
    if len(ratio) not in (2, 3) or min(ratio) <= 0:
        raise InputError(
            f"The ratio {':'.join(f'{part:g}' for part in ratio)} is not two or three positive numbers."
        )
    # The later parts are rounded, so that training is what remains.
    fewest = 1 if len(patients) >= len(ratio) else 0
    counts = [max(round(len(patients) * part / sum(ratio)), fewest) for part in ratio[1:]]
    sizes = [len(patients) - sum(counts), *counts]
    return _fixed(cases, patients, sizes, "hold-out", seed, {"ratio": list(ratio)})


def fixed_counts(
    cases: Sequence[CaseEntry], seed: int, *, counts: Sequence[int], fewer: str = REFUSE
) -> Splits:
    """So many patients for training, validation (and test), drawn at random; what is left over stays out.

    ``fewer``: what happens with fewer patients than that, "refuse" or "in proportion".
    """
    patients = shuffled_patients(cases, seed)
    if len(counts) not in (2, 3) or min(counts) < 0 or counts[0] < 1:
        raise InputError(f"The counts {list(counts)} are not two or three numbers of patients.")
    if fewer not in (REFUSE, IN_PROPORTION):
        raise InputError(f"The split's fewer '{fewer}' is none of {REFUSE}, {IN_PROPORTION}.")
    options: dict[str, Any] = {"counts": list(counts)}
    if sum(counts) > len(patients):
        if fewer == REFUSE:
            raise InputError(
                f"{sum(counts)} patients are asked for, the data have {len(patients)}.", hint=OWN_SPLIT
            )
        fewest = [int(count > 0 and len(patients) >= len(counts)) for count in counts]
        later = [
            max(round(len(patients) * count / sum(counts)), least)
            for count, least in zip(counts[1:], fewest[1:], strict=True)
        ]
        counts = [len(patients) - sum(later), *later]
        options["meant_for"], options["given"] = sum(options["counts"]), counts
    return _fixed(cases, patients, counts, "counts", seed, options)


def k_fold(cases: Sequence[CaseEntry], seed: int, *, folds: int = 5) -> Splits:
    """Every patient is in the validation of one fold; sizes of folds differ by one at most."""
    parts = _folds(shuffled_patients(cases, seed), folds)
    return Splits("k-fold", seed, {"folds": folds}, _rotated(cases, parts, [], small_training=False))


def folds_beside_test(
    cases: Sequence[CaseEntry],
    seed: int,
    *,
    test: int = 20,
    folds: int = 5,
    small_training: bool = False,
    of: int | None = None,
) -> Splits:
    """``test`` patients aside, the rest in folds: of 70, 20 test and in each fold 40 training, 10 validation.

    ``small_training`` turns it round, as report 003 has it: one fold trains (10), the others validate (40).
    ``of``: how many patients ``test`` is meant for; with fewer it shrinks in proportion, to one at least.
    """
    patients = shuffled_patients(cases, seed)
    options: dict[str, Any] = {"test": test, "folds": folds, "small_training": small_training}
    if of is not None and len(patients) < of and test:
        test = max(round(test * len(patients) / of), 1)
        options |= {"meant_for": of, "given": test}
    if not 0 <= test < len(patients):
        raise InputError(f"{test} test patients of {len(patients)} leave none for training.", hint=OWN_SPLIT)
    parts = _folds(patients[test:], folds)
    return Splits("test-and-folds", seed, options, _rotated(cases, parts, patients[:test], small_training))


def leave_one_centre_out(cases: Sequence[CaseEntry], seed: int = 0) -> Splits:
    """Every centre is the validation of one split; nothing is drawn, ``seed`` is only kept."""
    centres = sorted({case.centre for case in cases})
    nameless = [case.name for case in cases if not case.centre]
    if nameless:
        raise InputError(
            f"Case '{nameless[0]}' has no centre.",
            hint="Give a manifest with a column 'centre'; 'segdl-train data list FOLDER --write' begins one.",
        )
    if len(centres) < 2:
        raise InputError(f"All cases are of the centre '{centres[0]}'; at least two are needed.")
    _check_one_centre(cases)
    splits = [
        Split(
            centre,
            sorted(case.name for case in cases if case.centre != centre),
            sorted(case.name for case in cases if case.centre == centre),
        )
        for centre in centres
    ]
    return Splits("leave-one-centre-out", seed, {}, splits)


METHODS: dict[str, Callable[..., Splits]] = {
    "hold-out": hold_out,
    "counts": fixed_counts,
    "k-fold": k_fold,
    "test-and-folds": folds_beside_test,
    "leave-one-centre-out": leave_one_centre_out,
}


def shuffled_patients(cases: Sequence[CaseEntry], seed: int) -> list[str]:
    """The patients in the order in which they are drawn."""
    if not cases:
        raise InputError("There are no cases to split.")
    return sorted(
        {case.patient for case in cases},
        key=lambda patient: (hashlib.sha256(f"{seed}:{patient}".encode()).digest(), patient),
    )


def write_splits(splits: Splits, path: str | Path) -> Path:
    """Write as JSON; the file appears whole or not at all."""
    document = {
        "schema": SCHEMA_NAME,
        "method": splits.method,
        "seed": splits.seed,
        "options": splits.options,
        "splits": [{"name": split.name, **split.parts()} for split in splits.splits],
    }
    target = Path(path)
    with replacing(target, ".json") as temporary:
        temporary.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return target


def read_splits(path: str | Path) -> Splits:
    """Splits of a JSON file; raises InputError that names the field."""
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"The splits '{path}' cannot be read: {error}.") from error
    if not isinstance(document, Mapping) or document.get("schema") != SCHEMA_NAME:
        raise InputError(f"'{path}' holds no splits: its 'schema' is not '{SCHEMA_NAME}'.")
    rows, options, seed = document.get("splits"), document.get("options", {}), document.get("seed", 0)
    if not isinstance(rows, list) or not rows:
        raise InputError(f"'{path}' has no splits.")
    if not isinstance(options, Mapping) or not isinstance(seed, int):
        raise InputError(f"'{path}': 'options' is no table, or 'seed' no whole number.")
    splits = [_split(path, number, row) for number, row in enumerate(rows)]
    return Splits(str(document.get("method", "")), seed, dict(options), splits)


def _split(path: str | Path, number: int, row: Any) -> Split:
    parts: dict[str, list[str]] = {}
    for part in PARTS:
        names = row.get(part, []) if isinstance(row, Mapping) else None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InputError(f"splits[{number}] of '{path}': '{part}' is no list of names of cases.")
        parts[part] = [composed(name) for name in dict.fromkeys(names)]
    return Split(str(row.get("name", number)), **parts)


def _fixed(
    cases: Sequence[CaseEntry],
    patients: Sequence[str],
    sizes: Sequence[int],
    method: str,
    seed: int,
    options: dict[str, Any],
) -> Splits:
    if sizes[0] < 1:
        raise InputError(f"{len(patients)} patients leave none for training.", hint="Add cases.")
    lists, start = [], 0
    for size in sizes:
        lists.append(_names(cases, patients[start : start + size]))
        start += size
    return Splits(method, seed, options, [Split("split", *lists)])


def _folds(patients: Sequence[str], folds: int) -> list[list[str]]:
    if not 2 <= folds <= len(patients):
        raise InputError(
            f"{len(patients)} patients cannot be divided into {folds} folds.",
            hint="Add cases, or ask for fewer folds.",
        )
    return [list(patients[number::folds]) for number in range(folds)]


def _rotated(
    cases: Sequence[CaseEntry], parts: Sequence[list[str]], test: Sequence[str], small_training: bool
) -> list[Split]:
    splits = []
    for number, part in enumerate(parts):
        others = [patient for other in parts if other is not part for patient in other]
        training, validation = (part, others) if small_training else (others, part)
        splits.append(
            Split(
                f"fold-{number + 1}", _names(cases, training), _names(cases, validation), _names(cases, test)
            )
        )
    return splits


def _names(cases: Sequence[CaseEntry], patients: Sequence[str]) -> list[str]:
    chosen = set(patients)
    return sorted(case.name for case in cases if case.patient in chosen)


def _check_one_centre(cases: Sequence[CaseEntry]) -> None:
    centres: dict[str, str] = {}
    for case in cases:
        other = centres.setdefault(case.patient, case.centre)
        if other != case.centre:
            raise InputError(
                f"Patient '{case.patient}' is of the centres '{other}' and '{case.centre}'.",
                hint="Give a patient one centre, else it would be in training and validation.",
            )
