"""The same segmentation inside this process: for scripts on hosts without Qt or without PythonSlicer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from SegDLLib.request import Request
from SegDLLib.results import ResultNodes, importResult

Progress = Callable[[float, str, float | None], Any]


def segmentInProcess(request: Request, onProgress: Progress | None = None) -> ResultNodes:
    """Run the pipeline here and import its result; blocks, imports torch, raises SegDLError.

    ``onProgress(fraction, stage, eta_s)``; an exception raised there stops the work.
    """
    from SegDLEngine.options import SegmentOptions
    from SegDLEngine.pipeline import segment
    from SegDLEngine.protocol import Reporter

    def sink(event: Mapping[str, Any]) -> None:
        if onProgress is not None and event["event"] == "progress":
            onProgress(event["fraction"], event["stage"], event.get("eta_s"))

    result = segment(
        request.images(), request.model, SegmentOptions.from_mapping(request.options), Reporter(sink)
    )
    return importResult(result, request.reference, name=request.name, closedSurface=request.closedSurface)
