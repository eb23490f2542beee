"""What the console, the panel and the batch script share: models, runs and their results."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

from SegDLEngine.errors import SegDLError

from SegDLLib.python_command import pythonCommand
from SegDLLib.request import makeRequest
from SegDLLib.results import TABLE_ROLE, UNCERTAINTY_ROLE, ResultNodes
from SegDLLib.signals import Relay

DEFAULT_MODEL = "lung-tumor-unet2d"


class Segmenter:
    """Runs segmentations one at a time, in the engine's process where there is one."""

    def __init__(self) -> None:
        self._engine: Any = None
        self._job: Any = None

    def __del__(self) -> None:
        # A logic that a script made for one call leaves no process behind.  When Python itself ends, the
        # application's end has stopped the process already, and Qt's objects are no longer there.
        if not sys.is_finalizing():
            with contextlib.suppress(Exception):
                self.shutdown()

    @property
    def busy(self) -> bool:
        return self._job is not None and self._job.active

    @property
    def engine(self):
        """The EngineProcess, made when first needed; it starts its process with the first job."""
        if self._engine is None:
            from SegDLLib.engine_process import EngineProcess

            self._engine = EngineProcess()
        return self._engine

    def models(self) -> list[dict[str, Any]]:
        """One row for each model: id, title, inputs, labels, installed, licence."""
        from SegDLEngine.models.catalogue import list_models

        return [model.row() for model in list_models()]

    def card(self, model: str) -> dict[str, Any]:
        """The model card of an id or package, as data; raises ModelError."""
        from SegDLEngine.models.catalogue import load_model

        return load_model(model, need_weights=False).card.data

    def segment(
        self,
        inputs: Mapping[str, Any],
        model: str = DEFAULT_MODEL,
        *,
        roi: Any = None,
        samples: int | None = None,
        device: str = "auto",
        precision: str = "auto",
        seed: int = 0,
        minimumMl: float | None = None,
        threshold: float | None = None,
        name: str = "",
        closedSurface: bool = False,
        blocking: bool = True,
        inProcess: bool | None = None,
        onProgress: Callable[[float, str, float | None], Any] | None = None,
        onFinished: Callable[[Any], Any] | None = None,
        onError: Callable[[SegDLError], Any] | None = None,
    ):
        """Segment ``inputs`` (input name -> volume node) and add the result to the scene.

        Blocking: returns the vtkMRMLSegmentationNode, or raises SegDLError.  Otherwise returns a
        ``SegmentationJob`` at once; ``onFinished(segmentationNode)`` or ``onError(error)`` follows from the
        event loop.  ``onProgress(fraction, stage, eta_s)``: 0..1, name, seconds or None.

        ``roi``: markups ROI node or six RAS bounds in mm; ``samples``: Monte Carlo passes, 0 for none, None
        for the model's own; ``device``: auto, cpu, cuda, cuda:<n>, mps; ``minimumMl``: smaller lesions are
        removed; ``inProcess``: True computes inside this process, None only where no other can be started.
        """
        if self.busy:
            raise SegDLError("A segmentation is running.", hint="Wait for its end or cancel it.", code="busy")
        request = makeRequest(
            inputs,
            model,
            roi=roi,
            name=name,
            closedSurface=closedSurface,
            samples=samples,
            device=device,
            precision=precision,
            seed=seed,
            minimum_ml=minimumMl,
            threshold=threshold,
        )
        if inProcess or (inProcess is None and blocking and not _canStartEngine()):
            return self._segmentHere(request, blocking, onProgress, onFinished)
        return self._segmentOutside(request, blocking, onProgress, onFinished, onError)

    def cancel(self) -> None:
        """Cancel the running segmentation, if any; its ``onError`` hears Cancelled."""
        if self.busy:
            self._job.cancel()

    def shutdown(self) -> None:
        """End the engine's process and whatever runs in it; the object can be used again."""
        if self._engine is not None:
            if self.busy:
                self._job.discard()
            self._engine.close()
            self._engine = None

    def lesionTable(self, segmentationNode):
        """The vtkMRMLTableNode with the lesions of a result; None for a segmentation of other origin."""
        return segmentationNode.GetNodeReference(TABLE_ROLE)

    def uncertaintyVolume(self, segmentationNode):
        """The uncertainty volume of a result; None without Monte Carlo."""
        return segmentationNode.GetNodeReference(UNCERTAINTY_ROLE)

    def _segmentHere(self, request, blocking, onProgress, onFinished):
        from SegDLLib.local_engine import segmentInProcess

        if not blocking:
            raise SegDLError(
                "Work inside this process blocks.", hint="Use blocking=True with inProcess=True."
            )
        nodes = segmentInProcess(request, onProgress)
        if onFinished is not None:
            onFinished(nodes.segmentation)
        return nodes.segmentation

    def _segmentOutside(self, request, blocking, onProgress, onFinished, onError):
        from SegDLLib.job import SegmentationJob

        job = SegmentationJob(self.engine, request)
        # As long as the job runs, its process is needed.
        job.owner = self
        if onFinished is not None:
            job.finished.connect(lambda nodes: onFinished(nodes.segmentation))
        if onError is not None:
            job.failed.connect(onError)
        self._job = job
        if not blocking:
            if onProgress is not None:
                job.progressed.connect(onProgress)
            job.start()
            return job
        poll = Relay(onProgress)
        job.progressed.connect(poll.receive)
        job.start()
        nodes: ResultNodes = job.wait(poll)
        return nodes.segmentation


def _canStartEngine() -> bool:
    """True where Qt and a Python for the engine exist; a bare MRML host has neither."""
    try:
        importlib.import_module("qt")
        return bool(pythonCommand())
    except (ImportError, SegDLError):
        return False
