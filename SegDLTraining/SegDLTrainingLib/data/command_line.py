"""``segdl-train data``: list, check and split the cases of a data set."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from SegDLEngine.command_line.tables import print_table
from SegDLEngine.errors import InputError
from SegDLEngine.models.card import ModelCard, check_card
from SegDLEngine.models.catalogue import load_model
from SegDLEngine.protocol import Reporter

from SegDLTrainingLib.data.cases import CaseList, Problem
from SegDLTrainingLib.data.check import Report, check_cases, check_split
from SegDLTrainingLib.data.layouts import LAYOUTS, find_cases
from SegDLTrainingLib.data.manifest import write_manifest
from SegDLTrainingLib.data.splits import METHODS, read_splits, write_splits

Add = Callable[[Any, str, Callable[[argparse.Namespace, Reporter], None], str], argparse.ArgumentParser]


def add_commands(commands: Any, add: Add) -> None:
    """Add ``data`` and what it can do to the parser; ``add`` makes one command with the common options."""
    text = "list, check and split the cases of a data set"
    data = commands.add_parser("data", help=text, description=text[0].upper() + text[1:] + ".")
    actions = data.add_subparsers(required=True, metavar="ACTION")
    listing = add(actions, "list", _list, "show which cases a folder or manifest has")
    checking = add(actions, "check", _check, "read all cases and report what would disturb training")
    splitting = add(actions, "split", _split, "divide the cases by patient and write the split as JSON")
    for parser in (listing, checking, splitting):
        parser.add_argument("source", help="folder of cases, or a manifest (.csv, .json)")
        card = parser.add_mutually_exclusive_group(required=True)
        card.add_argument(
            "--model", help="model that says inputs and labels: an id, a package or a model.json"
        )
        card.add_argument("--recipe", help="recipe that says them: a shipped one, or a JSON file")
        parser.add_argument("--layout", default="auto", choices=("auto", *LAYOUTS), help="default: auto")
        parser.add_argument(
            "--map",
            action="append",
            default=[],
            metavar="FROM=VALUE",
            help="value or segment name (with * and ?) of the label files = label value of the model; "
            "0 is background; once for each",
        )
        parser.add_argument("--json", action="store_true", help="print JSON")
    listing.add_argument("--write", type=Path, help="manifest to write (.json)")
    checking.add_argument("--splits", type=Path, help="splits to check too (JSON)")
    checking.add_argument("--workers", type=int, default=2, help="processes that read cases (default: 2)")
    checking.add_argument("--report", type=Path, help="report to write (.json)")
    splitting.add_argument("--method", required=True, choices=tuple(METHODS))
    splitting.add_argument("--output", required=True, type=Path, help="splits to write (.json)")
    splitting.add_argument("--seed", type=int, default=0)
    splitting.add_argument("--ratio", help="hold-out: training:validation[:test], default 4:1")
    splitting.add_argument("--counts", help="counts: patients, training:validation[:test]")
    splitting.add_argument("--folds", type=int, help="k-fold, test-and-folds: default 5")
    splitting.add_argument("--test", type=int, help="test-and-folds: patients of the test, default 20")
    splitting.add_argument(
        "--small-training",
        action="store_true",
        default=None,
        help="test-and-folds: train on one fold and validate on the others (10-40)",
    )


def _list(arguments: argparse.Namespace, reporter: Reporter) -> None:
    card = _card(arguments)
    found = _found(arguments, card, reporter)
    if arguments.write:
        write_manifest(found, arguments.write)
    if arguments.json:
        cases = [{**vars(case), "inputs": dict(case.inputs)} for case in found.cases]
        problems = [problem.row() for problem in found.problems]
        print(json.dumps({"layout": found.layout, "cases": cases, "problems": problems}, indent=1))
    else:
        rows = [
            [case.name, case.patient, case.centre, ", ".join(case.inputs), _file(case.labels)]
            for case in found.cases
        ]
        print_table(["case", "patient", "centre", "inputs", "labels"], rows)
        _print_problems(found.problems)


def _check(arguments: argparse.Namespace, reporter: Reporter) -> None:
    card = _card(arguments)
    splits = read_splits(arguments.splits) if arguments.splits else None
    report = check_cases(_found(arguments, card, reporter), card, splits, reporter, arguments.workers)
    if arguments.report:
        arguments.report.write_text(json.dumps(report.data(), indent=1) + "\n", encoding="utf-8")
    if arguments.json:
        print(json.dumps(report.data(), indent=1))
    else:
        _print_report(report)
    if report.errors:
        raise InputError(
            f"Problems that prevent training: {len(report.errors)}; "
            f"cases that can be read: {len(report.rows)}.",
            hint="Correct or remove the cases named above.",
            code="data",
        )


def _split(arguments: argparse.Namespace, reporter: Reporter) -> None:
    found = _found(arguments, _card(arguments), reporter)
    options: dict[str, Any] = {
        "ratio": _numbers(arguments.ratio, float),
        "counts": _numbers(arguments.counts, int),
        "folds": arguments.folds,
        "test": arguments.test,
        "small_training": arguments.small_training,
    }
    try:
        splits = METHODS[arguments.method](
            found.cases, arguments.seed, **{key: value for key, value in options.items() if value is not None}
        )
    except TypeError as error:
        raise InputError(f"--method {arguments.method} does not take these options: {error}.") from error
    for split in splits.splits:
        for problem in check_split(split, found.cases):
            reporter.warning(problem.code, problem.text)
    write_splits(splits, arguments.output)
    rows = [[split.name, *(str(len(names)) for names in split.parts().values())] for split in splits.splits]
    if arguments.json:
        print(arguments.output.read_text(encoding="utf-8"), end="")
    else:
        print_table(["split", "training", "validation", "test"], rows)


def _card(arguments: argparse.Namespace) -> ModelCard:
    if arguments.recipe:
        from SegDLTrainingLib.recipes import load_recipe

        return check_card(load_recipe(arguments.recipe).card, arguments.recipe)
    return load_model(arguments.model, need_weights=False).card


def _found(arguments: argparse.Namespace, card: ModelCard, reporter: Reporter) -> CaseList:
    found = find_cases(
        arguments.source, card, layout=arguments.layout, label_map=_label_map(arguments.map) or None
    )
    reporter.log(f"{len(found.cases)} cases, layout '{found.layout}'")
    return found


def _label_map(pairs: Sequence[str]) -> dict[str, int]:
    label_map = {}
    for pair in pairs:
        name, _, value = pair.rpartition("=")
        if not name or not value.strip().isdigit():
            raise InputError(f"--map '{pair}' is not FROM=VALUE.", hint="As in --map 'GTV*=1' or --map 3=0.")
        label_map[name.strip()] = int(value)
    return label_map


def _numbers(text: str | None, kind: Callable[[str], Any]) -> list[Any] | None:
    if text is None:
        return None
    try:
        return [kind(part) for part in text.split(":")]
    except ValueError as error:
        raise InputError(f"'{text}' is not numbers with ':' between them, as in 4:1.") from error


def _print_report(report: Report) -> None:
    names = list(report.rows[0]["labels_ml"]) if report.rows else []
    rows = [
        [
            row["name"],
            row["patient"],
            row["centre"],
            "x".join(map(str, row["size"])),
            "/".join(f"{length:.3g}" for length in row["spacing"]),
            *(f"{row['labels_ml'][name]:.2f}" for name in names),
        ]
        for row in report.rows
    ]
    print_table(["case", "patient", "centre", "size", "mm", *(f"{name}, ml" for name in names)], rows)
    _print_problems(report.problems)


def _print_problems(problems: Sequence[Problem]) -> None:
    for problem in sorted(problems, key=lambda problem: problem.severity):
        where = f"{problem.case}: " if problem.case else ""
        print(f"{problem.severity}: {where}{problem.text} {problem.hint}".rstrip())


def _file(path: str | None) -> str:
    return Path(path).name if path else "-"
