"""The check of data by itself, in a process of its own because it reads every case."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import slicer
from SegDLEngine.errors import SegDLError

from SegDLLib.training.task import ProcessTask


class CheckTask(ProcessTask):
    """Result: the report of ``segdl-train data check`` (``cases``, ``problems``, ``usable``).

    Fails when there are no cases at all; problems of cases are in the report.
    """

    def __init__(self, process: Any, recipe: str, data: Path, splits: str = ""):
        super().__init__(process)
        self._recipe, self._data, self._splits = recipe, data, splits
        self._folder = Path(tempfile.mkdtemp(prefix="SegDL-", dir=slicer.app.temporaryPath))

    def discard(self) -> None:
        super().discard()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _words(self) -> Sequence[str]:
        words = ["SegDLTrainingLib", "data", "check", str(self._data), "--recipe", self._recipe]
        words += ["--workers", "1", "--progress", "json", "--report", str(self._folder / "report.json")]
        return [*words, "--splits", self._splits] if self._splits else words

    def _onEnded(self, error: SegDLError | None) -> None:
        report = self._folder / "report.json"
        self._report = json.loads(report.read_text(encoding="utf-8")) if report.is_file() else None
        super()._onEnded(error)

    def _outcome(self, error: SegDLError | None) -> Any:
        if self._report is not None and not self.stopping:
            return self._report
        return super()._outcome(error)
