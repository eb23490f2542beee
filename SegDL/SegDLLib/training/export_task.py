"""The cases of the scene into a folder while the window stays alive.

What is read from the scene is copied in turns of the event loop, one image or segment in each; the copies are
written by a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from SegDLEngine.errors import Cancelled, SegDLError
from SegDLEngine.models.card import ModelCard

from SegDLLib.training.package_path import makeImportable
from SegDLLib.training.scene_cases import SceneCases, Write, caseFiles, findCases
from SegDLLib.training.task import Task
from SegDLLib.training.writing_thread import WritingThread

MANIFEST = "cases.json"
# The window is not served for so long, then for as long it is.
_TURN_MS = 10


class ExportTask(Task):
    """Result: the path of the manifest, which any ``segdl-train`` command takes as its data.

    Stopped, it ends with the file that is being written; every file is there whole or not at all.
    """

    def __init__(self, card: ModelCard, folder: Path):
        super().__init__()
        self._card, self._folder = card, folder
        self._manifest: Path | None = None
        self._steps: Iterator[Write | None] = iter(())
        self._writing: WritingThread | None = None
        self._files = self._written = 0
        self._turns = _timer(self.turn)

    def start(self) -> None:
        found = findCases(self._card)
        self._steps = self._allSteps(found)
        self._files = sum(case.files for case in found.cases)
        self.active = True
        if self._turns is not None:
            self._turns.start(_TURN_MS)
        for text in (*found.leftOut, *found.notes):
            self.warned.emit(text)
        self._tell()

    def stop(self) -> None:
        self.stopping = self.active

    def discard(self) -> None:
        self._leave()
        if self._writing is not None:
            self._writing.finish()

    def turn(self) -> None:
        """Copy a piece of the scene, or wait a little for the file that is being written."""
        if not self.active:
            return
        try:
            ended = self._next()
        except SegDLError as error:
            self._close(error)
        except Exception as error:
            # A turn that fails must not come again and again.
            self._close(SegDLError(f"The cases of the scene cannot be written: {error}.", detail=repr(error)))
        else:
            if ended:
                self._close(None, self._manifest)

    def _next(self) -> bool:
        """True when all is written."""
        if self._writing is not None:
            if self._writing.ended(_TURN_MS / 1000):
                self._writing = None
                self._written += 1
                self._tell()
            return False
        if self.stopping:
            raise Cancelled("Stopped.")
        try:
            write = next(self._steps)
        except StopIteration:
            return True
        if write is not None:
            self._writing = WritingThread(write)
        return False

    def _tell(self) -> None:
        self.progressed.emit(self._written / self._files, "exporting", None, {})

    def _allSteps(self, found: SceneCases) -> Iterator[Write | None]:
        makeImportable()
        from SegDLTrainingLib.data.cases import CaseList
        from SegDLTrainingLib.data.manifest import write_manifest

        entries = []
        for case in found.cases:
            entries.append((yield from caseFiles(case, self._card, self._folder)))
        self._manifest = write_manifest(CaseList("manifest", entries), self._folder / MANIFEST)

    def _close(self, error: SegDLError | None, result: Any = None) -> None:
        self._leave()
        self._end(error, result)

    def _leave(self) -> None:
        self.active = False
        if self._turns is not None:
            self._turns.stop()


def _timer(slot: Callable[[], None]) -> Any:
    """A timer that calls ``slot``; None without Qt, where only a script that waits takes turns."""
    try:
        import qt
    except ImportError:
        return None
    timer = qt.QTimer()
    timer.connect("timeout()", slot)
    return timer
