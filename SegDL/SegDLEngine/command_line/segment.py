"""``segdl segment``: images of one case to a segmentation, maps, lesion table and report."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from SegDLEngine import __version__
from SegDLEngine.command_line.terminal import add_progress, duration, reporting
from SegDLEngine.errors import InputError

OPTIONS = ("samples", "seed", "device", "precision", "threshold", "minimum_ml")


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "segment",
        help="segment the images of one case",
        description="Segment the images of one case. Research software, not for clinical use.",
    )
    parser.add_argument("--model", required=True, help="id (see segdl models list), package folder or zip")
    parser.add_argument(
        "--input",
        action="append",
        required=True,
        metavar="NAME=PATH",
        help="an image file or DICOM folder by input name, such as CT=ct.nrrd; repeat for more inputs",
    )
    parser.add_argument("--output", required=True, help=".seg.nrrd; or a labelmap .nrrd, .nii.gz, .mha")
    parser.add_argument("--uncertainty", metavar="PATH", help="standard deviation over the passes")
    parser.add_argument("--entropy", metavar="PATH", help="entropy of the mean probability, in nats")
    parser.add_argument(
        "--mutual-information", metavar="PATH", help="what the passes disagree about, in nats"
    )
    parser.add_argument("--mean", metavar="PATH", help="probability of the foreground")
    parser.add_argument("--lesions", metavar="PATH", help="lesion table, .csv or .json")
    parser.add_argument("--report", metavar="PATH", help="everything about the result, .json")
    add_options(parser)
    parser.add_argument(
        "--roi",
        metavar="X0,Y0,Z0,X1,Y1,Z1",
        help="segment only this box: two corners in RAS millimetres; write --roi=-10,... for a minus",
    )
    add_progress(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that one case and a batch share."""
    parser.add_argument("--samples", type=int, help="Monte Carlo passes; default from the model, 0 for none")
    parser.add_argument("--seed", type=int, default=0, help="seed of the Monte Carlo passes (default 0)")
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:0 or mps")
    parser.add_argument("--precision", default="auto", help="auto (default), fp32 or bf16")
    parser.add_argument("--threshold", type=float, help="probability from which a voxel is foreground")
    parser.add_argument("--minimum-ml", type=float, help="remove lesions with a smaller volume")


def run(arguments: argparse.Namespace) -> int:
    from SegDLEngine.models.catalogue import load_model
    from SegDLEngine.segment_job import run_segment_job

    with reporting(arguments) as reporter:
        reporter.emit("accepted", engine=__version__)
        model = load_model(arguments.model)
        outcome = run_segment_job(
            model,
            parse_inputs(arguments.input, model.card.input_names),
            make_options(arguments, roi=parse_roi(arguments.roi)),
            {
                "segmentation": arguments.output,
                "uncertainty": arguments.uncertainty,
                "entropy": arguments.entropy,
                "mutual_information": arguments.mutual_information,
                "mean": arguments.mean,
                "lesions": arguments.lesions,
                "report": arguments.report,
            },
            reporter,
        )
        reporter.emit("result", **outcome)
    if arguments.progress != "json":
        print_summary(outcome)
    return 0


def make_options(arguments: argparse.Namespace, roi: Sequence[float] | None = None) -> Any:
    """The SegmentOptions of parsed arguments; raises InputError."""
    from SegDLEngine.options import SegmentOptions

    chosen = {name: getattr(arguments, name) for name in OPTIONS}
    return SegmentOptions(**chosen, roi=tuple(roi) if roi else None)


def parse_inputs(texts: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Paths by input name; a bare path will do for a model with one input.  Raises InputError."""
    inputs: dict[str, str] = {}
    for text in texts:
        name, mark, path = text.partition("=")
        if not mark and len(names) == 1:
            name, path = names[0], text
        if name not in names or not path:
            raise InputError(
                f"--input {text} does not name an input of the model.",
                hint=f"Write NAME=PATH; the names are {', '.join(names)}.",
            )
        if name in inputs:
            raise InputError(f"--input {name} is given twice.", hint="Give each input once.")
        inputs[name] = path
    return inputs


def parse_roi(text: str | None) -> tuple[float, ...] | None:
    """Two opposite corners 'x0,y0,z0,x1,y1,z1' as (x_min, x_max, y_min, y_max, z_min, z_max)."""
    if text is None:
        return None
    try:
        numbers = [float(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 6:
        raise InputError(f"--roi {text} is not six numbers.", hint="Write x0,y0,z0,x1,y1,z1 in RAS mm.")
    pairs = zip(numbers[:3], numbers[3:], strict=True)
    return tuple(value for pair in pairs for value in sorted(pair))


def print_summary(outcome: dict[str, Any]) -> None:
    """What was found and where it was written, for people."""
    for label in outcome["labels"]:
        lesions = [lesion for lesion in outcome["lesions"] if lesion["label"] == label["value"]]
        if not lesions:
            print(f"{label['name']}: not found")
            continue
        noun = "lesion" if len(lesions) == 1 else "lesions"
        print(f"{label['name']}: {len(lesions)} {noun}, {label['volume_ml']:.1f} ml")
    for name, path in outcome["files"].items():
        print(f"{name:<19}{path}")
    print(f"{duration(outcome['seconds'])}. Research software, not for clinical use.")
