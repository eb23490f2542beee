"""One training from the scene or a folder to a model package: export, fit, and its curve."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer
from SegDLEngine.errors import Cancelled, SegDLError
from SegDLEngine.models.card import ModelCard

from SegDLLib.signals import Signal
from SegDLLib.training import curve_nodes
from SegDLLib.training.export_task import MANIFEST, ExportTask
from SegDLLib.training.package_path import hasCheckpoint, makeImportable, workingFolder
from SegDLLib.training.task import ProcessTask, Task

# Share of the bar.
_WEIGHTS = {"export": 0.02, "fit": 0.98}
_DATA_SUFFIX = "-data"


@dataclass(frozen=True)
class TrainingRequest:
    """``recipe``: name or file; ``output``: folder of the package, beside which checkpoint and exported cases
    are kept; ``data``: folder or manifest, None for the recipe's own; ``scene``: the cases of the open scene
    instead; ``arguments``: further ones of ``segdl-train fit``.
    """

    recipe: str
    card: ModelCard
    output: Path
    data: Path | None = None
    scene: bool = False
    arguments: tuple[str, ...] = ()

    @property
    def dataFolder(self) -> Path:
        """Where the cases of the scene are written."""
        return self.output.with_name(self.output.name + _DATA_SUFFIX)


class TrainingJob(Task):
    """Result: the folder of the model package.  ``tableMade(node)``: the curve has got its table.

    ``stop`` ends the training after its step, with a checkpoint; the same request goes on from there.
    """

    def __init__(self, process: Any, request: TrainingRequest):
        super().__init__()
        self.tableMade = Signal()
        self.request = request
        self.owner: Any = None
        self._process = process
        self._data = request.data
        self._parts: deque[tuple[str, Callable[[], Task]]] = deque()
        self._part: Task | None = None
        self._table: Any = None
        self._rows: list[Mapping[str, Any]] = []
        self._before, self._whole, self._weight = 0.0, 1.0, 1.0

    def start(self) -> None:
        self._parts.extend(self._plan())
        self._whole = sum(_WEIGHTS[name] for name, _ in self._parts)
        self.active = True
        try:
            self._next()
        except BaseException:
            self.discard()
            raise

    def stop(self) -> None:
        if self.active and not self.stopping and self._part is not None:
            self.stopping = True
            self._part.stop()

    def turn(self) -> None:
        if self._part is not None:
            self._part.turn()

    def discard(self) -> None:
        part, self._part = self._part, None
        self.active, self.owner = False, None
        if part is not None:
            part.discard()

    def _plan(self) -> Sequence[tuple[str, Callable[[], Task]]]:
        """What there is to do; a training of the scene that goes on has its cases."""
        request = self.request
        resumes, manifest = hasCheckpoint(request.output), request.dataFolder / MANIFEST
        parts: list[tuple[str, Callable[[], Task]]] = []
        if request.scene and resumes and manifest.is_file():
            self._data = manifest
        elif request.scene:
            parts.append(("export", lambda: ExportTask(request.card, request.dataFolder)))
        return [*parts, ("fit", lambda: _FitTask(self._process, request, self._data))]

    def _next(self) -> None:
        name, make = self._parts.popleft()
        self._weight = _WEIGHTS[name] / self._whole
        part = self._part = make()
        part.progressed.connect(self._onProgress)
        part.logged.connect(self.logged.emit)
        part.warned.connect(self.warned.emit)
        part.failed.connect(self._finish)
        part.finished.connect(lambda result: self._onPartDone(name, result))
        if isinstance(part, _FitTask):
            part.rowCame.connect(self._onRow)
            for row in self._earlierRows():
                self._onRow(row)
        part.start()

    def _onPartDone(self, name: str, result: Any) -> None:
        self._before += self._weight
        try:
            if name == "fit":
                self._finish(None, self.request.output)
                return
            self._data = result
            if self.stopping:
                raise Cancelled("Stopped.")
            self._next()
        except SegDLError as error:
            self._finish(error)

    def _onProgress(
        self, fraction: float, stage: str, secondsLeft: float | None, details: Mapping[str, Any]
    ) -> None:
        self.progressed.emit(self._before + self._weight * fraction, stage, secondsLeft, details)

    def _earlierRows(self) -> list[dict[str, Any]]:
        """The epochs before a training that goes on."""
        makeImportable()
        from SegDLTrainingLib.places import HISTORY_FILE

        path = workingFolder(self.request.output) / HISTORY_FILE
        if not hasCheckpoint(self.request.output):
            return []
        try:
            return list(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return []  # The training itself judges its files; the curve begins where it goes on.

    def _onRow(self, row: Mapping[str, Any]) -> None:
        self._rows.append(row)
        if self._table is not None and slicer.mrmlScene.IsNodePresent(self._table):
            curve_nodes.setRow(self._table, row)
        elif not self.stopping:
            # The first row, or the table was removed or its scene closed meanwhile.
            name = f"{self.request.output.name} training"
            self._table = curve_nodes.makeCurves(str(self.request.output), name)
            for known in self._rows:
                curve_nodes.setRow(self._table, known)
            self.tableMade.emit(self._table)

    def _finish(self, error: SegDLError | None, result: Any = None) -> None:
        self._part, self.owner = None, None
        self._end(error, result)


class _FitTask(ProcessTask):
    """``segdl-train fit``; ``rowCame(row)`` after each epoch."""

    stoppable = True

    def __init__(self, process: Any, request: TrainingRequest, data: Path | None):
        super().__init__(process)
        self.rowCame = Signal()
        self._request, self._data = request, data

    def _words(self) -> Sequence[str]:
        request = self._request
        words = ["SegDLTrainingLib", "fit", "--recipe", request.recipe, "--output", str(request.output)]
        words += ["--progress", "json", *request.arguments]
        if self._data is not None:
            words += ["--data", str(self._data)]
        if "--workers" not in request.arguments and sys.platform != "linux":
            # Child processes of Slicer's Python hang on other systems.
            words += ["--workers", "1"]
        return words

    def _onEvent(self, event: Mapping[str, Any]) -> None:
        if event.get("event") == "log" and "row" in event:
            self.rowCame.emit(event["row"])
        super()._onEvent(event)
