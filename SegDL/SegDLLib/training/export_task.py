"""The cases of the scene into a folder, one in each turn of the event loop so that the window stays alive."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from SegDLEngine.errors import Cancelled, SegDLError
from SegDLEngine.models.card import ModelCard

from SegDLLib.training.package_path import makeImportable
from SegDLLib.training.scene_cases import SceneCases, exportCase, findCases
from SegDLLib.training.task import Task

MANIFEST = "cases.json"


class ExportTask(Task):
    """Result: the path of the manifest, which any ``segdl-train`` command takes as its data."""

    def __init__(self, card: ModelCard, folder: Path):
        super().__init__()
        self._card, self._folder = card, folder
        self._found = SceneCases()
        self._entries: list = []
        self._turns = _timer(self.turn)

    def start(self) -> None:
        self._found = findCases(self._card)
        self.active = True
        if self._turns is not None:
            self._turns.start(0)

    def stop(self) -> None:
        if self.active:
            self.discard()
            self._end(Cancelled("Stopped."))

    def discard(self) -> None:
        self.active = False
        if self._turns is not None:
            self._turns.stop()

    def turn(self) -> None:
        """Export one case, or write the manifest behind the last one."""
        if not self.active:
            return
        try:
            self._next()
        except SegDLError as error:
            self.discard()
            self._end(error)
        except OSError as error:
            self.discard()
            self._end(SegDLError(f"The cases cannot be written: {error}.", hint="Choose another folder."))

    def _next(self) -> None:
        makeImportable()
        from SegDLTrainingLib.data.cases import CaseList
        from SegDLTrainingLib.data.manifest import write_manifest

        cases = self._found.cases
        done = len(self._entries)
        if not done:
            for text in (*self._found.leftOut, *self._found.notes):
                self.warned.emit(text)
        if done < len(cases):
            self._entries.append(exportCase(cases[done], self._card, self._folder))
            self.progressed.emit((done + 1) / len(cases), "exporting", None, {})
            return
        manifest = write_manifest(CaseList("manifest", self._entries), self._folder / MANIFEST)
        self.discard()
        self._end(None, manifest)


def _timer(slot: Callable[[], None]) -> Any:
    """A timer that calls ``slot``; None without Qt, where only a script that waits takes turns."""
    try:
        import qt
    except ImportError:
        return None
    timer = qt.QTimer()
    timer.connect("timeout()", slot)
    return timer
