"""``segdl lungs``: the lung region of a chest CT as a mask, found in one of three ways, and a report."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from SegDLEngine.command_line.evaluate import label_values
from SegDLEngine.errors import InputError

METHODS = ("classical", "watershed", "unet")
LUNG_MODEL = "lungs-r231-unet2d"


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "lungs",
        help="isolate the lungs of a chest CT, or compare the ways to do it",
        description="The classical method isolates the region of a chest CT in which lung tumours are "
        "sought: both lungs, mirrored about the spine, with a margin. The methods watershed and unet give "
        "the lungs themselves; unet needs a model with installed weights. Research software, not for "
        "clinical use.",
    )
    parser.add_argument("ct", help="image file or DICOM folder, in HU")
    parser.add_argument(
        "output",
        nargs="?",
        help="mask of the region: .nrrd, .nii.gz, .nii or .mha; with --compare a table: .csv or .json",
    )
    parser.add_argument(
        "--method", default="classical", help=f"one of: {', '.join(METHODS)}; classical if absent"
    )
    parser.add_argument(
        "--compare", action="store_true", help="print volume, time and Dice of the lungs of all methods"
    )
    parser.add_argument("--json", action="store_true", help="with --compare: print JSON")
    parser.add_argument("--model", default=LUNG_MODEL, help=f"for unet: id or package ({LUNG_MODEL})")
    parser.add_argument("--device", default="auto", help="for unet: auto (default), cpu, cuda, cuda:0 or mps")
    parser.add_argument(
        "--lungs",
        metavar="PATH",
        help="mask of the lungs before mirroring and margin; of unet 1 right, 2 left",
    )
    parser.add_argument("--report", metavar="PATH", help="volumes, times, spine axis of classical; .json")
    parser.add_argument("--reference", metavar="PATH", help="labelmap to compare with, on the grid of the CT")
    parser.add_argument(
        "--reference-values",
        action="append",
        metavar="1,2,3",
        help="values that together are the reference; repeat for another comparison (default: all labels)",
    )


def run(arguments: argparse.Namespace) -> int:
    if arguments.method not in METHODS:
        raise InputError(
            f"Method '{arguments.method}' of lung isolation is not available.",
            hint=f"Available: {', '.join(METHODS)}.",
            code="method",
        )
    if arguments.reference_values and not arguments.reference:
        raise InputError("--reference-values needs --reference.", code="usage")
    if arguments.compare:
        from SegDLEngine.command_line.lungs_compare import run_comparison

        return run_comparison(arguments)
    if not arguments.output or arguments.json:
        cause = "No output is named." if not arguments.output else "--json belongs to --compare."
        raise InputError(cause, hint="Name the file of the mask, or ask for --compare.", code="usage")
    from SegDLEngine.images.checks import check_image
    from SegDLEngine.images.reading import read_image, read_labels
    from SegDLEngine.images.writing import output_extension, write_image
    from SegDLEngine.outputs import OutputFiles
    from SegDLEngine.preprocessing.lungs.methods import find_lungs

    for path in filter(None, (arguments.output, arguments.lungs)):
        output_extension(Path(path))
    if arguments.report:
        output_extension(Path(arguments.report), (".json",))
    targets = {"mask": arguments.output, "lungs": arguments.lungs, "report": arguments.report}
    outputs = OutputFiles(targets, filter(None, (arguments.ct, arguments.reference)))
    values = [label_values(text) for text in arguments.reference_values or []]
    labels = read_labels(arguments.reference, warn=_warn) if arguments.reference else None
    image = read_image(arguments.ct, modality="CT", unit="HU", warn=_warn)
    check_image(image, "CT", modality="CT", unit="HU")

    found = find_lungs(image, arguments.method, model=arguments.model, device=arguments.device)
    report = {"method": arguments.method, **found.report}
    if labels is not None:
        report["reference"] = _compare(found, labels, values)
    for warning in report["warnings"]:
        _warn(warning["code"], warning["text"])
    with outputs:
        write_image(found.mask, outputs.path("mask"))
        if "lungs" in outputs:
            write_image(found.lungs, outputs.path("lungs"))
        if "report" in outputs:
            outputs.path("report").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print("\n".join(summary(report)))
    return 0


def _compare(found: Any, labels: Any, values: list[list[int] | None]) -> list[dict[str, Any]]:
    import numpy as np

    from SegDLEngine.preprocessing.lungs.agreement import agreement

    every = [int(value) for value in np.unique(labels.array) if value]
    return [agreement(found, labels, chosen or every) for chosen in values or [every]]


def summary(report: dict[str, Any]) -> list[str]:
    """The report in a few lines."""
    couch = ""
    if "couch_found" in report:
        couch = f"couch {'found' if report['couch_found'] else 'not found'}, "
    lines = [
        f"lungs {report['lungs_ml']:.0f} ml, region {report['mask_ml']:.0f} ml, {couch}"
        f"{report['seconds']['total']:.2f} s"
    ]
    axis = report.get("spine_axis")
    if axis is not None:
        lines.append(
            f"spine axis in {len(axis['columns'])} slices, "
            f"columns {axis['lowest_column']:.1f} to {axis['highest_column']:.1f}"
        )
    for row in report.get("reference", []):
        lines.append(
            f"reference {','.join(map(str, row['values']))}: coverage {row['coverage_after']:.4f} "
            f"(before {row['coverage_before']:.4f}), Dice {row['dice_after']:.4f} "
            f"(before {row['dice_before']:.4f})"
        )
    stages = ", ".join(f"{name} {value:.2f}" for name, value in report["seconds"].items() if name != "total")
    return [*lines, f"seconds: {stages}"]


def _warn(code: str, text: str) -> None:
    print(f"segdl: warning: {text}", file=sys.stderr)
