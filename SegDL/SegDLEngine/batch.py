"""Many cases with one model: resumable, shared among processes, and no bad case stops the others.

Below the output folder each case has a folder with its files, ``log.txt`` and ``case.json``; ``summary.csv``
has one row a case.  A case is left as it is when its ``case.json`` says that it is done, by the same model,
options and input files (path, size and time of change); a failed one is tried again by the next run.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SegDLEngine import __version__
from SegDLEngine.batch_cases import Case
from SegDLEngine.claims import Claims
from SegDLEngine.errors import Cancelled, InputError, SegDLError
from SegDLEngine.images.reading import existing_source
from SegDLEngine.images.writing import replacing
from SegDLEngine.models.catalogue import Model
from SegDLEngine.options import SegmentOptions
from SegDLEngine.protocol import Event, Reporter, encode
from SegDLEngine.segment_job import run_segment_job

CASE_FILE = "case.json"
LOG_FILE = "log.txt"
SUMMARY_FILE = "summary.csv"
CLAIMS_FOLDER = ".claims"
CASE_SCHEMA = "segdl-case-1"
_POLL_S = 1.0


@dataclass(frozen=True)
class BatchPlan:
    """What is the same for all cases; ``files`` are file names in a case's folder by output name."""

    model: Model
    options: SegmentOptions
    folder: Path
    files: dict[str, str]
    reference_labels: Sequence[int] | None = None


def run_batch(
    plan: BatchPlan, cases: Sequence[Case], reporter: Reporter, rank: int = 0, ranks: int = 1
) -> list[dict[str, Any]]:
    """Work through the cases together with any other process on the same folder; their records in order.

    Process ``rank`` of ``ranks`` begins at its own share of the table, then helps with what is left, and
    returns when every case is done or has failed.  Raises Cancelled, and InputError for a folder or summary
    that cannot be written.
    """
    try:
        plan.folder.mkdir(exist_ok=True)
        claims = Claims(plan.folder / CLAIMS_FOLDER)
        started = claims.now()
    except OSError as error:
        raise InputError(
            f"The output folder {plan.folder} cannot be written: {error.strerror}.",
            hint="Choose a folder whose parent exists.",
        ) from error
    first = rank * len(cases) // max(ranks, 1)
    waiting = [*cases[first:], *cases[:first]]
    try:
        while waiting:
            left = [case for case in waiting if not _attend(plan, case, claims, started, cases, reporter)]
            if len(left) == len(waiting):
                time.sleep(_POLL_S)
            reporter.check()
            waiting = left
        return _summarise(plan, cases)
    finally:
        claims.close()


def _attend(
    plan: BatchPlan,
    case: Case,
    claims: Claims,
    started: float,
    cases: Sequence[Case],
    reporter: Reporter,
) -> bool:
    """True if the case needs nobody any more; False while another process works on it."""
    fingerprint = _fingerprint(plan, case)
    if _is_settled(plan, case, fingerprint, started):
        return True
    with claims.claim(case.name) as ours:
        if not ours:
            return False
        if not _is_settled(plan, case, fingerprint, started):
            _run_case(plan, case, fingerprint, _CaseReporter(reporter, case, cases, _case_folder(plan, case)))
        return True


def _is_settled(plan: BatchPlan, case: Case, fingerprint: str, started: float) -> bool:
    """Done with these inputs, or failed since this run began (by another process)."""
    path = _case_folder(plan, case) / CASE_FILE
    record = _read_record(path)
    if record is None or record["fingerprint"] != fingerprint:
        return False
    if record["status"] == "failed":
        return path.stat().st_mtime >= started
    return all((_case_folder(plan, case) / name).is_file() for name in plan.files.values())


def _run_case(plan: BatchPlan, case: Case, fingerprint: str, reporter: _CaseReporter) -> None:
    started = time.monotonic()
    folder = _case_folder(plan, case)
    folder.mkdir(exist_ok=True)
    record: dict[str, Any] = {
        "schema": CASE_SCHEMA,
        "case": case.name,
        "status": "done",
        "fingerprint": fingerprint,
        "error": None,
    }
    with reporter:
        try:
            outputs = {name: folder / file for name, file in plan.files.items()}
            outcome = run_segment_job(plan.model, case.inputs, plan.options, outputs, reporter)
            record["labels"] = outcome["labels"]
            record["lesions"] = outcome["lesions"]
            record["evaluation"] = _evaluate(plan, case, reporter)
        except Cancelled:
            raise
        except Exception as error:
            reporter.error(error)
            text = str(error) if isinstance(error, SegDLError) else f"{type(error).__name__}: {error}"
            record.update(status="failed", error=" ".join(text.split()))
    record["seconds"] = round(time.monotonic() - started, 3)
    with replacing(folder / CASE_FILE) as partial:
        partial.write_text(encode(record) + "\n", encoding="utf-8")


def _evaluate(plan: BatchPlan, case: Case, reporter: Reporter) -> list[dict[str, Any]] | None:
    if case.reference is None:
        return None
    from SegDLEngine.images.reading import read_labels
    from SegDLEngine.measurement.evaluation import evaluate

    prediction = read_labels(_case_folder(plan, case) / plan.files["segmentation"])
    reference = read_labels(case.reference, warn=reporter.warning)
    return evaluate(reference, prediction, reference_labels=plan.reference_labels, warn=reporter.warning)


class _CaseReporter(Reporter):
    """Reports one case: into its log file, and as its share of the whole batch."""

    def __init__(self, batch: Reporter, case: Case, cases: Sequence[Case], folder: Path):
        super().__init__(self._receive)
        self._batch = batch
        self._case = case
        self._start = cases.index(case) / len(cases)
        self._share = 1 / len(cases)
        self._path = folder / LOG_FILE

    def check(self) -> None:
        self._batch.check()

    def __enter__(self) -> _CaseReporter:
        self._log = self._path.open("w", encoding="utf-8")
        return self

    def __exit__(self, *error: object) -> None:
        self._log.close()

    def _receive(self, event: Event) -> None:
        self._log.write(time.strftime("%Y-%m-%dT%H:%M:%S ") + encode(event) + "\n")
        self._log.flush()
        if event["event"] == "progress":
            whole = self._start + self._share * event["fraction"]
            self._batch.progress(f"{self._case.name}: {event['stage']}", whole)
        elif event["event"] == "warning":
            self._batch.warning(event["code"], f"{self._case.name}: {event['text']}")


def _fingerprint(plan: BatchPlan, case: Case) -> str:
    """Changes when model, options, wanted files or an input file change; contents are not read."""
    identity = {
        "engine": __version__,
        "card": plan.model.card.data,
        "options": plan.options.as_mapping(),
        "files": plan.files,
        "inputs": {name: _stamps(path) for name, path in case.inputs.items()},
        "reference": _stamps(case.reference) if case.reference else None,
        "reference_labels": plan.reference_labels,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _stamps(path: str) -> list[Any]:
    """Path, and size and time of the file, or of all files in the DICOM folder, that it means."""
    source = existing_source(path)
    files = [source] if not source.is_dir() else sorted(item for item in source.rglob("*") if item.is_file())
    stats = [(str(file), file.stat()) for file in files if file.exists()]
    return [os.path.abspath(path), *([name, stat.st_size, stat.st_mtime_ns] for name, stat in stats)]


def _case_folder(plan: BatchPlan, case: Case) -> Path:
    return plan.folder / case.name


def _read_record(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and record.get("schema") == CASE_SCHEMA else None


def _summarise(plan: BatchPlan, cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Write ``summary.csv`` from the records of all processes and return the records."""
    records = []
    for case in cases:
        record = _read_record(_case_folder(plan, case) / CASE_FILE)
        records.append(record or {"case": case.name, "status": "missing", "error": "There is no record."})
    rows = [_summary_row(plan, record) for record in records]
    columns = list(dict.fromkeys(name for row in rows for name in row if name != "error"))
    with (
        replacing(plan.folder / SUMMARY_FILE) as partial,
        partial.open("w", newline="", encoding="utf-8") as stream,
    ):
        writer = csv.DictWriter(stream, [*columns, "error"])
        writer.writeheader()
        writer.writerows(rows)
    return records


def _summary_row(plan: BatchPlan, record: dict[str, Any]) -> dict[str, Any]:
    row = {"case": record["case"], "status": record["status"], "seconds": record.get("seconds")}
    for label in record.get("labels", []):
        found = [lesion for lesion in record["lesions"] if lesion["label"] == label["value"]]
        row[f"{label['name']} ml"] = label["volume_ml"]
        row[f"{label['name']} lesions"] = len(found)
    names = {label["value"]: label["name"] for label in plan.model.card.labels}
    for figures in record.get("evaluation") or []:
        name = names.get(figures["label"], "all" if figures["label"] is None else f"label {figures['label']}")
        for key in ("dice", "hd95_mm", "detected_lesions", "reference_lesions", "false_lesions"):
            row[f"{name} {key}"] = figures[key]
    row["error"] = record.get("error")
    return row
