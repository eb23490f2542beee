"""``segdl lungs``: the lung region of a chest CT as a mask, and a report about it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from SegDLEngine.command_line.evaluate import label_values
from SegDLEngine.errors import InputError

METHODS = ("classical",)


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "lungs",
        help="isolate the lung region of a chest CT",
        description="Isolate the region of a chest CT in which lung tumours are sought: both lungs, mirrored "
        "about the spine, with a margin. Research software, not for clinical use.",
    )
    parser.add_argument("ct", help="image file or DICOM folder, in HU")
    parser.add_argument("output", help="mask of the region: .nrrd, .nii.gz, .nii or .mha")
    parser.add_argument("--method", default="classical", help=f"one of: {', '.join(METHODS)} (default)")
    parser.add_argument("--lungs", metavar="PATH", help="mask of the lungs before mirroring and margin")
    parser.add_argument("--report", metavar="PATH", help="volumes, times and spine axis, .json")
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
    from SegDLEngine.images.checks import check_image
    from SegDLEngine.images.reading import read_image, read_labels
    from SegDLEngine.images.writing import output_extension, write_image
    from SegDLEngine.outputs import OutputFiles
    from SegDLEngine.preprocessing.lungs.isolation import isolate_lungs

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

    isolation = isolate_lungs(image)
    report = {"method": arguments.method, **isolation.report}
    if labels is not None:
        report["reference"] = _compare(isolation, labels, values)
    for warning in report["warnings"]:
        _warn(warning["code"], warning["text"])
    with outputs:
        write_image(isolation.mask, outputs.path("mask"))
        if "lungs" in outputs:
            write_image(isolation.lungs, outputs.path("lungs"))
        if "report" in outputs:
            outputs.path("report").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print("\n".join(summary(report)))
    return 0


def _compare(isolation: Any, labels: Any, values: list[list[int] | None]) -> list[dict[str, Any]]:
    import numpy as np

    from SegDLEngine.preprocessing.lungs.agreement import agreement

    every = [int(value) for value in np.unique(labels.array) if value]
    return [agreement(isolation, labels, chosen or every) for chosen in values or [every]]


def summary(report: dict[str, Any]) -> list[str]:
    """The report in a few lines."""
    lines = [
        f"lungs {report['lungs_ml']:.0f} ml, region {report['mask_ml']:.0f} ml, "
        f"couch {'found' if report['couch_found'] else 'not found'}, {report['seconds']['total']:.2f} s"
    ]
    axis = report["spine_axis"]
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
