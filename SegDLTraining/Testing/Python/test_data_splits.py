"""Splits: by patient, of the sizes of the reports, the same for the same seed."""

from __future__ import annotations

import json

import pytest
from SegDLEngine.errors import InputError
from SegDLTrainingLib.data.cases import CaseEntry
from SegDLTrainingLib.data.check import check_split
from SegDLTrainingLib.data.splits import (
    METHODS,
    Split,
    fixed_counts,
    folds_beside_test,
    hold_out,
    k_fold,
    leave_one_centre_out,
    read_splits,
    write_splits,
)


def cases(patients: int, visits: int = 1, centres: int = 4) -> list[CaseEntry]:
    return [
        CaseEntry(f"p{patient:03d}-{visit}", f"p{patient:03d}", {}, centre=f"centre{patient % centres}")
        for patient in range(patients)
        for visit in range(visits)
    ]


def sizes(split: Split) -> tuple[int, int, int]:
    return len(split.training), len(split.validation), len(split.test)


@pytest.mark.parametrize(
    ("ratio", "expected"), [((4, 1), (179, 45, 0)), ((6, 1), (192, 32, 0)), ((8, 1, 1), (180, 22, 22))]
)
def test_hold_out_of_the_224_patients_of_report_000(ratio, expected):
    (split,) = hold_out(cases(224), 1, ratio=ratio).splits
    assert sizes(split) == expected
    assert len({*split.training, *split.validation, *split.test}) == 224


def test_counts_of_report_002():
    assert sizes(fixed_counts(cases(274), 0, counts=(220, 27, 27))[0]) == (220, 27, 27)
    assert sizes(fixed_counts(cases(274), 0, counts=(200, 37, 37))[0]) == (200, 37, 37)
    assert sizes(fixed_counts(cases(30), 0, counts=(20, 5, 5))[0]) == (20, 5, 5)
    with pytest.raises(InputError, match="40 patients are asked for, the data have 30"):
        fixed_counts(cases(30), 0, counts=(30, 10))


def test_folds_cover_every_patient_once():
    for count, folds in ((274, 5), (30, 6), (222, 3)):
        splits = k_fold(cases(count), 3, folds=folds).splits
        validation = [name for split in splits for name in split.validation]
        assert len(validation) == len(set(validation)) == count
        assert all(not set(split.training) & set(split.validation) for split in splits)
        assert (
            max(map(len, (s.validation for s in splits))) - min(map(len, (s.validation for s in splits))) <= 1
        )


@pytest.mark.parametrize("small", [False, True], ids=["40-10", "10-40"])
def test_20_test_and_5_folds_of_report_003(small):
    splits = folds_beside_test(cases(70), 5, test=20, folds=5, small_training=small).splits
    assert [sizes(split) for split in splits] == [(10, 40, 20) if small else (40, 10, 20)] * 5
    assert len({tuple(split.test) for split in splits}) == 1
    union = {name for split in splits for part in split.parts().values() for name in part}
    assert len(union) == 70
    folds = [set(split.training if small else split.validation) for split in splits]
    assert sum(map(len, folds)) == len(set().union(*folds)) == 50
    assert not set().union(*folds) & set(splits[0].test)


def test_leave_one_centre_out_of_hecktor():
    counts = {"CHGJ": 55, "CHUS": 72, "CHUM": 56, "CHMR": 18}
    everyone = [
        CaseEntry(f"{c}{n:03d}", f"{c}{n:03d}", {}, centre=c) for c, m in counts.items() for n in range(m)
    ]
    splits = leave_one_centre_out(everyone)
    assert {split.name: len(split.validation) for split in splits.splits} == counts
    assert all(len(split.training) + len(split.validation) == 201 for split in splits.splits)
    with pytest.raises(InputError, match="Case 'p000-0' has no centre"):
        leave_one_centre_out([CaseEntry("p000-0", "p000", {}), *everyone])
    moved = CaseEntry("again", "CHGJ000", {}, centre="CHUS")
    with pytest.raises(InputError, match="Patient 'CHGJ000' is of the centres 'CHGJ' and 'CHUS'"):
        leave_one_centre_out([*everyone, moved])


@pytest.mark.parametrize("method", sorted(METHODS))
def test_no_patient_is_in_two_parts_and_the_order_of_cases_is_nothing(method):
    everyone = cases(41, visits=3)
    options = {"counts": {"counts": (20, 10, 5)}, "test-and-folds": {"test": 11, "folds": 3}}.get(method, {})
    first = METHODS[method](everyone, 7, **options)
    assert METHODS[method](everyone[::-1], 7, **options) == first
    for split in first.splits:
        errors = [problem for problem in check_split(split, everyone) if problem.severity == "error"]
        assert not errors
    if method != "leave-one-centre-out":
        assert METHODS[method](everyone, 8, **options).splits != first.splits


def test_a_new_patient_moves_few_others():
    before = hold_out(cases(100), 2)[0]
    after = hold_out(cases(101), 2)[0]
    assert len(set(before.validation) ^ set(after.validation)) <= 2


def test_the_draw_is_fixed_for_ever():
    assert hold_out(cases(10), 1)[0].validation == ["p004-0", "p007-0"]


def test_file(tmp_path):
    splits = folds_beside_test(cases(12), 4, test=2, folds=5)
    path = write_splits(splits, tmp_path / "splits.json")
    assert read_splits(path) == splits
    assert splits["fold-2"] is splits[1]
    assert [case.name for case in splits[0].of(cases(12), "test")] == splits[0].test
    with pytest.raises(InputError, match=r"the training case .* is not among the data"):
        splits[0].of(cases(3), "training")
    with pytest.raises(InputError, match="no split 'fold-9'"):
        splits["fold-9"]
    document = json.loads(path.read_text())
    document["splits"][1]["training"] = "p001"
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"splits\[1\] of .*: 'training' is no list"):
        read_splits(path)


@pytest.mark.parametrize("ratio", [(4, 1), (6, 1), (40, 1), (3, 1, 1), (1, 4)])
@pytest.mark.parametrize("patients", [3, 4, 7, 13])
def test_no_part_of_a_hold_out_is_empty(patients, ratio):
    split = hold_out(cases(patients, visits=2), 1, ratio=ratio)[0]
    sizes = [len(split.training), len(split.validation), len(split.test)][: len(ratio)]
    assert min(sizes) >= 2 and sum(sizes) == 2 * patients


def test_one_patient_only_trains():
    split = hold_out(cases(1, visits=3), 0)[0]
    assert len(split.training) == 3 and not split.validation


def test_impossible_wishes():
    with pytest.raises(InputError, match="3 patients cannot be divided into 5 folds"):
        k_fold(cases(3), 0)
    with pytest.raises(InputError, match="ratio 4:0"):
        hold_out(cases(3), 0, ratio=(4, 0))
    with pytest.raises(InputError, match="no cases"):
        hold_out([], 0)
    with pytest.raises(InputError, match="20 test patients of 20"):
        folds_beside_test(cases(20), 0)
