"""One job from paths to files: the same for the command line, the worker and the batch."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from SegDLEngine.errors import InputError
from SegDLEngine.inference.mirroring import uncertainty_passes
from SegDLEngine.models.catalogue import Model, load_model
from SegDLEngine.options import SegmentOptions
from SegDLEngine.outputs import OutputFiles
from SegDLEngine.protocol import Reporter
from SegDLEngine.writing_results import MAPS, NEED_SAMPLES, check_output_names, write_result

PathLike = str | os.PathLike[str]


def run_segment_job(
    model: str | Path | Model,
    inputs: Mapping[str, PathLike],
    options: SegmentOptions,
    outputs: Mapping[str, PathLike | None],
    reporter: Reporter,
) -> dict[str, Any]:
    """Segment the images at these paths and write the outputs, all or none.

    Returns the fields of the protocol's ``result`` event: files, lesions, provenance, warnings, seconds.
    Raises InputError, ModelError and Cancelled before anything is left on disk.
    """
    started = time.monotonic()
    found = load_model(model)
    check_output_names(outputs)
    _check_samples(found, options, outputs)
    with OutputFiles(outputs, inputs.values()) as files:
        from SegDLEngine.pipeline import segment

        maps = {map_name for name, map_name in MAPS.items() if outputs.get(name)}
        result = segment(dict(inputs), found, options, reporter, maps)
        report = write_result(result, files, reporter, time.monotonic() - started)
        reporter.check()
    return {
        "files": report["files"],
        "lesions": report["lesions"],
        "labels": report["labels"],
        "provenance": report["provenance"],
        "warnings": report["warnings"],
        "seconds": round(time.monotonic() - started, 3),
    }


def _check_samples(model: Model, options: SegmentOptions, outputs: Mapping[str, PathLike | None]) -> None:
    samples = uncertainty_passes(model.card.inference, options.samples)
    for name in NEED_SAMPLES:
        if outputs.get(name) and samples < 1:
            raise InputError(
                f"The {name} output needs Monte Carlo samples, and this job has none.",
                hint="Ask for some, such as --samples 10.",
            )
