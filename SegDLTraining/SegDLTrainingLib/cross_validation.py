"""All folds of a recipe on the user's cases: a training for each, their table, and the ensemble of them."""

from __future__ import annotations

import copy
import csv
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SegDLEngine.errors import InputError, ModelError
from SegDLEngine.images.writing import replacing
from SegDLEngine.models.catalogue import Model, load_model
from SegDLEngine.models.writing import write_package
from SegDLEngine.protocol import Event, Reporter

from SegDLTrainingLib.cache import remove_unused
from SegDLTrainingLib.data.splits import Split
from SegDLTrainingLib.figures import mean_of_folds
from SegDLTrainingLib.package import ensemble_inference
from SegDLTrainingLib.preparing import digest
from SegDLTrainingLib.recipes import Recipe, licence_text
from SegDLTrainingLib.user_cases import content_of, found_cases, splits_of

TABLE_FILE, FOLDS_FILE, ENSEMBLE_FOLDER = "folds.csv", "folds.json", "ensemble"
COLUMNS = ("fold", "split", "training", "validation", "label", "cases", "dice_mean", "dice_median")

Row = dict[str, Any]


@dataclass(frozen=True)
class Fold:
    """One division of the cases and the recipe that trains on it; ``name`` is that of its package.

    ``contents``: hashes of the files of all cases, by name.
    """

    name: str
    split: Split
    recipe: Recipe
    contents: Mapping[str, Mapping[str, str]]

    @property
    def identity(self) -> str:
        """Names what decides about the weights of the fold."""
        return digest([self.recipe.content, self.split.parts(), self.contents])


def folds_of(recipe: Recipe) -> list[Fold]:
    """The divisions of the recipe's split; raises InputError if there is only one."""
    cases = found_cases(recipe).cases
    splits = splits_of(recipe, cases).splits
    if len(splits) < 2:
        raise InputError(
            f"The recipe '{recipe['id']}' divides the cases only once.",
            hint="Ask for folds with --folds 5, or give --splits with several.",
        )
    data, contents = recipe["data"], {case.name: content_of(case) for case in cases}
    return [
        Fold(f"fold-{number}", split, Recipe({**recipe.data, "data": {**data, "fold": split.name}}), contents)
        for number, split in enumerate(splits, start=1)
    ]


def cross_validate(
    recipe: Recipe, output: str | Path, reporter: Reporter, *, cache: str | Path | None = None, **options: Any
) -> dict[str, Any]:
    """Train every fold into ``output``/fold-N, then write the table and the package ``output``/ensemble.

    A fold that is finished is left as it is, one that was interrupted goes on.  All share the prepared cases
    in ``cache``, ``output``/cache by default; ``options`` are those of ``run.train``.  Returns the rows of
    the folds with mean and standard deviation, and where table and ensemble lie; {} in all but the first
    process of ``torchrun``.
    """
    from SegDLTrainingLib.processes import joined
    from SegDLTrainingLib.run import train
    from SegDLTrainingLib.workplace import device_of, refuse_unusable

    output, started = Path(output), time.time()
    folds = folds_of(recipe)
    refuse_unusable(output / ENSEMBLE_FOLDER)
    rows = _finished_rows(output, folds)
    unfinished = len(rows) < len(folds)
    place = Path(cache) if cache else output / "cache"
    # Joined for all folds: while the first process measures one, the others may wait long for the next.
    with joined(device_of(options.get("device", "auto"))) as processes:
        if not processes.first:
            reporter = Reporter()
        reporter.stages({fold.name: 1.0 for fold in folds})
        for fold in folds:
            if fold.name in rows:
                reporter.log(f"{fold.name} is finished.")
            else:
                reporter.log(f"{fold.name} of {len(folds)}: split '{fold.split.name}'.")
                package = output / fold.name
                train(fold.recipe, package, _reporter_of(fold, reporter), cache=place, **options)
                if processes.first:
                    rows[fold.name] = _row(fold, load_model(package))
                    _write_json(output / FOLDS_FILE, list(rows.values()))
            reporter.progress(fold.name, 1.0)
    if not processes.first:
        return {}
    if unfinished and not cache:
        remove_unused(place, started)
    ordered = [rows[fold.name] for fold in folds]
    summary = _summary(ordered)
    _write_json(output / FOLDS_FILE, ordered)
    _write_table(output / TABLE_FILE, ordered, summary)
    models = [load_model(output / fold.name) for fold in folds]
    report = _write_ensemble(recipe, models, ordered, summary, output / ENSEMBLE_FOLDER)
    return {**report, "ensemble": str(output / ENSEMBLE_FOLDER), "table": str(output / TABLE_FILE),
            "folds": ordered, "summary": summary}  # fmt: skip


def _finished_rows(output: Path, folds: Sequence[Fold]) -> dict[str, Row]:
    """Rows of an earlier run whose packages are still what they were, and of the same training."""
    path = output / FOLDS_FILE
    try:
        earlier = {row["fold"]: row for row in json.loads(path.read_text(encoding="utf-8"))}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"The folds {path} cannot be read: {error}.", hint="Delete this file.") from error
    rows = {}
    for fold in folds:
        row = earlier.get(fold.name)
        if row is not None and row.get("identity") == fold.identity:
            try:
                sound = load_model(output / fold.name).sha256 == row["sha256"]
            except ModelError:
                sound = False
            if sound:
                rows[fold.name] = row
    return rows


def _reporter_of(fold: Fold, whole: Reporter) -> Reporter:
    """A reporter whose progress is the fold's part of the whole."""

    def forward(event: Event) -> None:
        fields = {key: value for key, value in event.items() if key not in ("protocol", "event", "job")}
        if event["event"] == "progress":
            details = {k: v for k, v in fields.items() if k not in ("stage", "fraction", "eta_s")}
            whole.progress(fold.name, fields["fraction"], **details)
        else:
            whole.emit(event["event"], **fields)

    return Reporter(forward)


def _row(fold: Fold, model: Model) -> Row:
    training = model.card.data["training"]
    return {
        "fold": fold.name,
        "split": fold.split.name,
        "identity": fold.identity,
        "sha256": model.sha256,
        "training": len(fold.split.training),
        "validation": len(fold.split.validation),
        "kept_epoch": training["kept_epoch"],
        "figures": _figures(model),
    }


def _figures(model: Model) -> dict[str, Row]:
    """Dice of the whole validation cases by label, as the training measured it."""
    training = model.card.data["training"]
    if "operating_points" in training:
        threshold = model.card.data["inference"]["threshold"]
        point = next(row for row in training["operating_points"] if row["threshold"] == threshold)
        return {model.card.labels[0]["name"]: {"dice_mean": point["dice"]}}
    return dict(training.get("validation", {}))


def _summary(rows: Sequence[Row]) -> dict[str, Row]:
    """By label: mean and (sample) standard deviation of the folds' mean Dice, and the number of cases."""
    labels = dict.fromkeys(label for row in rows for label in row["figures"])
    summary = {}
    for label in labels:
        figures = [row["figures"].get(label, {}) for row in rows]
        dices = [entry["dice_mean"] for entry in figures if "dice_mean" in entry]
        summary[label] = {
            "folds": len(dices),
            "cases": sum(entry.get("cases", 0) for entry in figures),
            "dice_mean": round(statistics.fmean(dices), 4) if dices else None,
            "dice_sd": round(statistics.stdev(dices), 4) if len(dices) > 1 else None,
        }
    return summary


def _write_table(path: Path, rows: Sequence[Row], summary: Mapping[str, Row]) -> None:
    lines: list[Row] = [
        {**row, **figures, "label": label} for row in rows for label, figures in row["figures"].items()
    ]
    for label, figures in summary.items():
        common = {"label": label, "cases": figures["cases"]}
        lines.append({"fold": "mean", **common, "dice_mean": figures["dice_mean"]})
        lines.append({"fold": "sd", **common, "dice_mean": figures["dice_sd"]})
    with replacing(path, ".csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, COLUMNS, extrasaction="ignore")
        table.writeheader()
        table.writerows(lines)


def _write_json(path: Path, rows: Sequence[Row]) -> None:
    with replacing(path, ".json") as temporary:
        temporary.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_ensemble(
    recipe: Recipe, models: Sequence[Model], rows: Sequence[Row], summary: Mapping[str, Row], folder: Path
) -> dict[str, Any]:
    """The package of all folds; its threshold is the mean of theirs, its uncertainty their spread.

    A card that has another kind of uncertainty keeps it.
    """
    card = copy.deepcopy(recipe.card)
    thresholds = [model.card.data["inference"]["threshold"] for model in models]
    card["inference"]["threshold"] = round(statistics.fmean(thresholds), 4)
    card["inference"] = ensemble_inference(card["inference"], len(models))
    free = ("identity", "sha256")
    card["training"] = {
        **card.get("training", {}),
        "recipe": recipe["id"],
        "report": recipe["report"],
        "published": recipe.data.get("published"),
        "seed": recipe.seed,
        "data": recipe["data"],
        "folds": [{key: value for key, value in row.items() if key not in free} for row in rows],
        "validation": {label: dict(figures) for label, figures in summary.items()},
        "measured": mean_of_folds([model.card.data["training"].get("measured", []) for model in models]),
    }
    states = [model.build().state_dict() for model in models]
    return write_package(states, card, folder, licence_file=licence_text())
