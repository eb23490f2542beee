"""A model's uncertainty on labelled cases: tables of errors against it, on the grid that the network sees."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from SegDLEngine.errors import InputError
from SegDLEngine.inference.ensemble import predict_members
from SegDLEngine.inference.postprocessing import label_map
from SegDLEngine.inference.prediction import Prediction
from SegDLEngine.inference.runtime import choose_runtime
from SegDLEngine.models.catalogue import Model
from SegDLEngine.protocol import Reporter

from SegDLTrainingLib.preparing import Job, prepare
from SegDLTrainingLib.uncertainty.histogram import Calibration, ErrorsByUncertainty
from SegDLTrainingLib.uncertainty.pictures import draw
from SegDLTrainingLib.uncertainty.slices import correlation, hard_dice, report_dice, slice_rows
from SegDLTrainingLib.volumes import PreparedVolume

MEASURES = ("std", "entropy")
MONTE_CARLO = "monte_carlo_dropout"
Row = dict[str, Any]


class LabelFigures:
    """What is gathered for one label over all cases."""

    def __init__(self, highest_entropy: float):
        self.errors = {"std": ErrorsByUncertainty(0.5), "entropy": ErrorsByUncertainty(highest_entropy)}
        self.calibration = {"deterministic": Calibration(), "mean": Calibration()}
        self.slices: dict[str, list[Row]] = {"deterministic": [], "mean": []}
        self.cases: list[Row] = []

    def add(self, case: str, truth: np.ndarray, masks: Mapping[str, np.ndarray],
            probabilities: Mapping[str, np.ndarray], maps: Mapping[str, np.ndarray]) -> None:  # fmt: skip
        """Arrays (k, j, i): truth, found masks and probabilities of both kinds, uncertainty by measure."""
        row: Row = {"case": case}
        for kind, found in masks.items():
            self.calibration[kind].add(probabilities[kind], truth)
            rows = slice_rows(truth, found, probabilities[kind], dict(maps))
            self.slices[kind] += [{"case": case, **entry} for entry in rows]
            size = int(truth.sum()) + int(found.sum())
            row[f"dice_{kind}"] = 2 * int((truth & found).sum()) / size if size else None
            row[f"slice_dice_{kind}"] = hard_dice(rows)
            row[f"report_dice_{kind}"] = report_dice(rows)
        region = truth | masks["deterministic"]
        for name, values in maps.items():
            self.errors[name].add(values, masks["deterministic"], truth)
            row[f"mean_{name}"] = float(values[region].mean()) if region.any() else None
            row[f"maximum_{name}"] = float(values.max())
        self.cases.append(row)

    def summary(self) -> Row:
        """Figures of all slices; the report's definition beside the hard one."""
        row: Row = {"cases": len(self.cases), "slices": len(self.slices["mean"])}
        for kind, rows in self.slices.items():
            row[f"report_dice_{kind}"] = report_dice(rows)
            row[f"slice_dice_{kind}"] = hard_dice(rows)
            row[f"calibration_error_{kind}"] = self.calibration[kind].error()
        for name, errors in self.errors.items():
            row[f"maximum_{name}"] = errors.maximum
            row[f"error_auc_{name}"] = errors.area_under_curve()
            row[f"slice_dice_correlation_{name}"] = correlation(self.slices["deterministic"], name)
        return row


def evaluate_uncertainty(
    model: Model,
    jobs: Sequence[Job],
    folder: Path,
    reporter: Reporter,
    *,
    samples: int = 25,
    seed: int = 0,
    device: str = "auto",
) -> dict[str, Row]:
    """Write tables and a picture to ``folder``; returns the summary of each label by name.

    ``samples`` passes with dropout on and all else as in evaluation; the deterministic pass is what is right
    or wrong.  Cards whose uncertainty is "none" are taken as Monte Carlo dropout.  Raises InputError without
    cases or samples, ModelError for a network without dropout.
    """
    if samples < 2:
        raise InputError(f"{samples} passes have no spread.", hint="Use --samples 25, as the report does.")
    if not jobs:
        raise InputError("There are no cases to evaluate.")
    card, settings = model.card.data, dict(model.card.inference)
    if settings.get("uncertainty", "none") == "none":
        settings["uncertainty"] = MONTE_CARLO
    labels = card["labels"]
    classes = len(labels) + 1 if settings["activation"] == "softmax" else 2
    figures = {label["name"]: LabelFigures(math.log(classes)) for label in labels}
    networks, runtime = list(model.networks()), choose_runtime(device, "auto")
    for number, job in enumerate(jobs):
        volume = prepare(job.make(job.argument), card, job.name, job.patient)
        channels = np.asarray(volume.image, dtype=np.float32)
        prediction = predict_members(
            networks, len(networks), channels, settings, runtime, Reporter(), samples, seed
        )
        _gather(figures, volume, prediction, labels, settings)
        reporter.progress("evaluating", (number + 1) / len(jobs), case=job.name)
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"model": model.id, "uncertainty": settings["uncertainty"], "samples": samples, "seed": seed}
    return _write(folder, figures, facts, reporter)


def _gather(
    figures: Mapping[str, LabelFigures], volume: PreparedVolume, prediction: Prediction,
    labels: Sequence[Mapping[str, Any]], settings: Mapping[str, Any],
) -> None:  # fmt: skip
    values, truth = [label["value"] for label in labels], np.asarray(volume.labels)
    kinds = {"deterministic": prediction.probability, "mean": prediction.mean}
    maps = {
        kind: label_map(probability, values, settings["threshold"], settings["activation"])
        for kind, probability in kinds.items()
    }
    assert prediction.std is not None and prediction.entropy is not None
    # Softmax classes share one entropy.
    entropies = np.broadcast_to(prediction.entropy, prediction.std.shape)
    for layer, label in enumerate(labels):
        value = label["value"]
        figures[label["name"]].add(
            volume.name,
            truth == value,
            {kind: found == value for kind, found in maps.items()},
            {kind: probability[layer] for kind, probability in kinds.items()},
            {"std": prediction.std[layer], "entropy": entropies[layer]},
        )


def _write(
    folder: Path, figures: Mapping[str, LabelFigures], facts: Row, reporter: Reporter
) -> dict[str, Row]:
    def each(rows: str) -> Iterator[Row]:
        for name, label in figures.items():
            for kind, row in _rows(label, rows):
                yield {"label": name, **kind, **row}

    for table in ("cases", "slices", "bins", "retention", "calibration"):
        _write_csv(folder / f"{table}.csv", each(table))
    summary = {name: label.summary() for name, label in figures.items()}
    text = json.dumps({**facts, "labels": summary}, indent=2)
    (folder / "summary.json").write_text(text + "\n", encoding="utf-8")
    try:
        kind = str(facts["uncertainty"]).replace("_", " ")
        draw(figures, folder / "uncertainty.png", f"{facts['model']}: {kind}")
    except InputError as error:
        reporter.warning("picture", str(error))
    return summary


def _rows(label: LabelFigures, table: str) -> Iterator[tuple[Row, Row]]:
    """What names a row, and its figures."""
    if table == "cases":
        yield from (({}, row) for row in label.cases)
    elif table == "slices":
        yield from (({}, row) for row in label.slices["deterministic"])
    elif table == "calibration":
        for kind, calibration in label.calibration.items():
            yield from (({"prediction": kind}, row) for row in calibration.bins())
    else:
        for name, errors in label.errors.items():
            rows = errors.bins() if table == "bins" else errors.retention()
            yield from (({"uncertainty": name}, row) for row in rows)


def _write_csv(path: Path, rows: Iterable[Row]) -> None:
    entries = [{key: _text(value) for key, value in row.items()} for row in rows]
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(entries[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(entries)


def _text(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else "" if value is None else value
