"""One segmentation in the engine's process: volumes out, events in, nodes into the scene."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import slicer
from SegDLEngine.errors import Cancelled, InputError, SegDLError
from SegDLEngine.inference.mirroring import uncertainty_passes

from SegDLLib.engine_process import ENGINE_LEFT, EngineProcess
from SegDLLib.request import Request
from SegDLLib.results import ResultNodes, importResult
from SegDLLib.signals import Signal

_WAIT_MS = 200


class SegmentationJob:
    """Runs a request in an EngineProcess; bulk data goes through a folder that is removed at the end.

    Signals: ``planned(dict)``, ``progressed(fraction, stage, eta_s)``, ``warned(text)``, ``logged(text)``;
    then exactly one of ``finished(ResultNodes)`` and ``failed(SegDLError)``, ``Cancelled`` if asked for.
    """

    def __init__(self, engine: EngineProcess, request: Request):
        self.planned, self.progressed = Signal(), Signal()
        self.warned, self.logged = Signal(), Signal()
        self.finished, self.failed = Signal(), Signal()
        self.id = uuid.uuid4().hex
        self.nodes: ResultNodes | None = None
        self.error: SegDLError | None = None
        self.cancelling = False
        self.owner: Any = None
        self._engine = engine
        self._request = request
        self._folder: Path | None = None
        self._command: dict[str, Any] = {}
        self._begun = self._resent = False

    @property
    def active(self) -> bool:
        return self._folder is not None

    def start(self) -> None:
        """Write the inputs and hand the job to the worker; raises SegDLError and leaves nothing behind."""
        from SegDLEngine.images.writing import write_image

        self._folder = Path(tempfile.mkdtemp(prefix="SegDL-", dir=slicer.app.temporaryPath))
        self._engine.received.connect(self._onEvent)
        self._engine.ended.connect(self._onEngineEnded)
        try:
            paths = {}
            for name, image in self._request.images().items():
                paths[name] = str(write_image(image, self._folder / f"input-{name}.nrrd", compress=False))
            self._command = self._makeCommand(paths)
            self._engine.send(self._command)
        except BaseException:
            self._close()
            raise

    def cancel(self) -> None:
        """Stop as soon as possible; nothing reaches the scene, ``failed`` follows with Cancelled."""
        if self.active and not self.cancelling:
            self.cancelling = True
            self._engine.cancel(self.id)

    def wait(self, poll: Callable[[], None] | None = None) -> ResultNodes:
        """Block until the end, without an event loop, and return the nodes or raise the error.

        ``poll`` is called between waits; when it raises, the job is cancelled first.
        """
        try:
            while self.active:
                self._engine.wait(_WAIT_MS)
                if poll is not None:
                    poll()
        except BaseException:
            self.abandon()
            raise
        if self.error is not None:
            raise self.error
        assert self.nodes is not None
        return self.nodes

    def abandon(self) -> None:
        """Cancel and wait until the worker is free again or killed."""
        self.cancel()
        while self.active:
            self._engine.wait(_WAIT_MS)

    def discard(self) -> None:
        """Forget the job: its folder goes, no signal follows.  Its worker is ended by others."""
        self._close()

    def _makeCommand(self, paths: Mapping[str, str]) -> dict[str, Any]:
        assert self._folder is not None
        outputs = {"labels": str(self._folder / "labels.nrrd")}
        if self._samples():
            outputs["uncertainty"] = str(self._folder / "uncertainty.nrrd")
        return {
            "command": "segment",
            "job": self.id,
            # A folder, because the worker may run where another list of models is known.
            "model": str(self._request.model.folder),
            "inputs": dict(paths),
            "options": self._request.options,
            "outputs": outputs,
        }

    def _samples(self) -> int:
        asked = self._request.options["samples"]
        inference = self._request.model.card.inference
        if inference.get("uncertainty", "none") == "none":
            return 0
        return uncertainty_passes(inference, asked)

    def _onEvent(self, event: Mapping[str, Any]) -> None:
        if event.get("job") != self.id or not self.active:
            return
        handler = {
            "plan": lambda: self.planned.emit(dict(event)),
            "progress": lambda: self._onProgress(event),
            "warning": lambda: self.warned.emit(event["text"]),
            "log": lambda: self.logged.emit(event["text"]),
            "result": lambda: self._onResult(event),
            "error": lambda: self._onError(event),
        }.get(event["event"])
        if handler is not None:
            handler()

    def _onResult(self, event: Mapping[str, Any]) -> None:
        if self.cancelling:
            self._end(Cancelled())
            return
        try:
            self.nodes = self._import(event)
        except SegDLError as error:
            self._end(error)
        except Exception as error:
            self._end(SegDLError(f"The result could not be shown: {error}.", hint="Please report this."))
        else:
            self._end(None)

    def _import(self, event: Mapping[str, Any]) -> ResultNodes:
        from SegDLEngine.images.reading import read_image, read_labels
        from SegDLEngine.result import Result

        reference = self._request.reference
        if not slicer.mrmlScene.IsNodePresent(reference):
            raise InputError(f"Volume '{reference.GetName()}' was removed while it was segmented.")
        files = event["files"]
        maps = {}
        if files.get("uncertainty"):
            maps["std"] = read_image(files["uncertainty"])
        result = Result(
            labels=read_labels(files["labels"]),
            maps=maps,
            lesions=list(event["lesions"]),
            card=self._request.model.card.data,
            provenance=self._provenance(event["provenance"]),
            warnings=list(event.get("warnings", ())),
        )
        return importResult(
            result, reference, name=self._request.name, closedSurface=self._request.closedSurface
        )

    def _provenance(self, reported: Mapping[str, Any]) -> dict[str, Any]:
        """The worker's provenance with the volumes' own names and files in place of the exchange files."""
        inputs = {}
        for name, found in (reported.get("inputs") or {}).items():
            node = self._request.inputs[name]
            storage = node.GetStorageNode()
            path = storage.GetFileName() if storage is not None else None
            inputs[name] = {**found, "path": path or "", "name": node.GetName()}
        return {**reported, "inputs": inputs}

    def _onError(self, event: Mapping[str, Any]) -> None:
        if self.cancelling or event["code"] == Cancelled.default_code:
            self._end(Cancelled())
        else:
            self._end(
                SegDLError(
                    event["text"],
                    hint=event.get("hint", ""),
                    code=event["code"],
                    detail=event.get("detail", ""),
                )
            )

    def _onEngineEnded(self, error: SegDLError) -> None:
        if not self.active:
            return
        if self.cancelling:
            self._end(Cancelled())
        elif error.code == ENGINE_LEFT and not self._begun and not self._resent:
            # It went away for being idle at the very moment when it was asked.
            self._resent = True
            self._send()
        else:
            self._end(error)

    def _send(self) -> None:
        try:
            self._engine.send(self._command)
        except SegDLError as error:
            self._end(error)

    def _onProgress(self, event: Mapping[str, Any]) -> None:
        self._begun = True
        if self.cancelling:
            return  # It was on its way when the user cancelled.
        self.progressed.emit(event["fraction"], event["stage"], event.get("eta_s"))

    def _end(self, error: SegDLError | None) -> None:
        self._close()
        self.error = error
        if error is None:
            self.finished.emit(self.nodes)
        else:
            self.failed.emit(error)

    def _close(self) -> None:
        self._engine.received.disconnect(self._onEvent)
        self._engine.ended.disconnect(self._onEngineEnded)
        self._engine.settled()
        self.owner = None
        folder, self._folder = self._folder, None
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
