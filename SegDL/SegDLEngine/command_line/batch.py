"""``segdl batch``: many cases with one model, resumable, alone or together with other processes."""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from SegDLEngine.command_line.evaluate import label_values
from SegDLEngine.command_line.segment import OPTIONS, add_options, make_options
from SegDLEngine.command_line.terminal import add_progress, reporting
from SegDLEngine.errors import InputError

EXTENSIONS = (".seg.nrrd", ".nrrd", ".nii.gz", ".mha")


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "batch",
        help="segment many cases, resumable",
        description=(
            "Segment the cases of a table (CSV with columns 'case', one for each input, and optionally "
            "'reference'). Cases that are done are left as they are. Several processes or machines may work "
            "on one output folder, by hand, with --workers or under torchrun: they share the cases, and do "
            "those of a process that dies. torchrun then ends the others; with --max-restarts it goes on."
        ),
    )
    parser.add_argument("--model", required=True, help="id (see segdl models list), package folder or zip")
    parser.add_argument("--cases", required=True, help="table of cases")
    parser.add_argument("--output", required=True, help="folder for the results")
    parser.add_argument("--format", choices=EXTENSIONS, default=".seg.nrrd", help="of the segmentations")
    parser.add_argument("--uncertainty", action="store_true", help="write uncertainty volumes as well")
    parser.add_argument("--reference-labels", metavar="1,2", help="values that are foreground in 'reference'")
    parser.add_argument("--workers", type=int, default=1, help="processes on this computer (default 1)")
    add_options(parser)
    add_progress(parser)


def run(arguments: argparse.Namespace) -> int:
    from SegDLEngine.batch import SUMMARY_FILE, BatchPlan, run_batch
    from SegDLEngine.batch_cases import read_cases
    from SegDLEngine.models.warm import WarmModels

    if arguments.workers < 1:
        raise InputError(f"--workers is {arguments.workers}.", hint="Use 1 or more.")
    model = WarmModels().get(arguments.model)
    cases = read_cases(arguments.cases, model.card.inputs)
    rank, ranks = _place()
    plan = BatchPlan(
        model,
        make_options(arguments),
        Path(arguments.output).absolute(),
        _files(arguments),
        label_values(arguments.reference_labels),
    )
    with _helpers(arguments, rank, ranks), reporting(arguments) as reporter:
        records = run_batch(plan, cases, reporter, rank, ranks * arguments.workers)
        states = [{key: record.get(key) for key in ("case", "status", "error")} for record in records]
        reporter.emit("result", cases=states, files={"summary": str(plan.folder / SUMMARY_FILE)})
    failed = [record for record in records if record["status"] != "done"]
    for record in failed:
        print(f"segdl: case {record['case']} failed: {record['error']}", file=sys.stderr)
    print(f"{len(records) - len(failed)} of {len(records)} cases done.", file=sys.stderr)
    return 1 if failed else 0


def _files(arguments: argparse.Namespace) -> dict[str, str]:
    files = {
        "segmentation": f"segmentation{arguments.format}",
        "lesions": "lesions.csv",
        "report": "report.json",
    }
    if arguments.uncertainty:
        files["uncertainty"] = "uncertainty" + arguments.format.removeprefix(".seg")
    return files


def _place() -> tuple[int, int]:
    """Rank and number of processes as torchrun and most schedulers set them."""
    try:
        return int(os.environ.get("RANK", "0")), max(int(os.environ.get("WORLD_SIZE", "1")), 1)
    except ValueError as error:
        raise InputError(f"RANK or WORLD_SIZE is not a whole number: {error}.") from error


@contextlib.contextmanager
def _helpers(arguments: argparse.Namespace, rank: int, ranks: int) -> Iterator[None]:
    """The further processes of ``--workers``: the same command, beginning at other shares of the table."""
    processes = []
    for number in range(1, arguments.workers):
        place = {
            "RANK": str(rank + ranks * number),
            "WORLD_SIZE": str(ranks * arguments.workers),
            "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // arguments.workers)),
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        processes.append(
            subprocess.Popen(_command(arguments), env={**os.environ, **place}, stdout=subprocess.DEVNULL)
        )
    try:
        yield
        for process in processes:
            process.wait()
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def _command(arguments: argparse.Namespace) -> list[str]:
    """The command of one helper, which is quiet and alone."""
    command = [sys.executable, "-m", "SegDLEngine", "batch", "--workers", "1", "--progress", "none"]
    for name in ("model", "cases", "output", "format", "reference_labels", *OPTIONS):
        value = getattr(arguments, name)
        if value is not None:
            command += [f"--{name.replace('_', '-')}={value}"]
    return [*command, "--uncertainty"] if arguments.uncertainty else command
