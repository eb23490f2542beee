"""The panel: sections on one side, parameters and segmenter on the other, wired together here."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import qt
import slicer
from SegDLEngine.errors import Cancelled, SegDLError
from slicer.i18n import tr as _

from SegDLLib import dependencies, uncertainty
from SegDLLib.diagnostics import diagnosticReport
from SegDLLib.lesion_table import centerOn, intensityUnitOf, lesionsFromTable
from SegDLLib.modality import guessInputs
from SegDLLib.model_info import describe
from SegDLLib.panel import wording
from SegDLLib.panel.dependency_section import DependencySection
from SegDLLib.panel.images_section import ImagesSection
from SegDLLib.panel.log_section import LogSection
from SegDLLib.panel.model_section import ModelSection
from SegDLLib.panel.options_section import OptionsSection
from SegDLLib.panel.overlay_section import OverlaySection
from SegDLLib.panel.results_section import ResultsSection
from SegDLLib.panel.run_section import RunSection
from SegDLLib.panel.train_part import TrainPart
from SegDLLib.parameters import Parameters
from SegDLLib.request import fitRoi, gridNote
from SegDLLib.segment_editor import openSegmentEditor
from SegDLLib.segmenter import DEFAULT_MODEL, Segmenter
from SegDLLib.training.trainer import Trainer

# A reader adds the node first and names it later; the guess waits for both.
_GUESS_DELAY_MS = 300


class Panel:
    """Writes what the user chooses into the parameter node and shows what is there (``refresh``)."""

    def __init__(self, ui: Any, segmenter: Segmenter, trainer: Trainer, getParameterNode: Callable[[], Any]):
        self._segmenter = segmenter
        self._getParameterNode = getParameterNode
        self._rows: list[dict[str, Any]] = []
        self._cards: dict[str, dict[str, Any]] = {}
        self._missing: list[str] = []
        self._refreshing = False
        self._lastError: SegDLError | None = None
        self._overlaid: Any = None
        self._started = 0.0
        self._guessTimer = qt.QTimer()
        self._guessTimer.setSingleShot(True)
        self._guessTimer.connect("timeout()", self.guess)
        self._dependency = DependencySection(ui)
        self._model = ModelSection(ui)
        self._images = ImagesSection(ui)
        self._options = OptionsSection(ui)
        self._run = RunSection(ui)
        self._results = ResultsSection(ui)
        self._overlay = OverlaySection(ui)
        self._train = TrainPart(ui, trainer, lambda: self.parameters)
        self._log = LogSection(ui)
        self._connectSections()
        self.reloadModels()

    @property
    def parameters(self) -> Parameters:
        return Parameters(self._getParameterNode())

    def reloadModels(self) -> None:
        """Look again which packages and models are there, e.g. when the module is entered."""
        self._missing = [str(item) for item in dependencies.missing()]
        self._dependency.show(self._missing)
        try:
            self._rows = sorted(
                self._segmenter.models(), key=lambda row: (not row["installed"], row["title"].lower())
            )
        except ImportError:
            self._rows = []  # The line above names the package that the list needs.
        self._cards = {}
        self._train.forgetModels()
        if self.parameters.model not in {row["id"] for row in self._rows}:
            self.parameters.model = _preferredModel(self._rows)
        self.guess()

    def guess(self) -> None:
        """Fill inputs that are not chosen yet by modality and name."""
        entries = self._entries()
        empty = [entry for entry in entries if self.parameters.input(entry["name"]) is None]
        used = [self.parameters.input(entry["name"]) for entry in entries]
        volumes = [
            node for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if node not in used
        ]
        free = [node for node in volumes if _isImage(node)]
        for name, node in guessInputs(empty, free).items():
            if node is not None:
                self.parameters.setInput(name, node)
        self.refresh()

    def guessSoon(self) -> None:
        """Guess once the volume that was just added has its name and voxels."""
        self._guessTimer.start(_GUESS_DELAY_MS)

    def refresh(self) -> None:
        """Show the parameter node; while a scene is read or closed the selectors say nothing that counts."""
        if self._refreshing or slicer.mrmlScene.IsBatchProcessing():
            return
        self._refreshing = True
        try:
            self._showAll()
        finally:
            self._refreshing = False

    def close(self) -> None:
        """Stop timers; nothing of the panel is called afterwards."""
        self._guessTimer.stop()
        self._guessTimer.disconnect("timeout()", self.guess)
        self._train.close()

    def _showAll(self) -> None:
        parameters, entries = self.parameters, self._entries()
        card = self._card()
        info = describe(card, self._installed()) if card else _("No model is installed.")
        self._model.show(self._rows, parameters.model, info)
        inputs = {entry["name"]: parameters.input(entry["name"]) for entry in entries}
        reference = entries[0]["name"] if entries else ""
        self._images.show(entries, inputs, parameters.roi, gridNote(inputs, reference), reference)
        self._options.show(parameters.device, parameters.samples, parameters.minimumMl)
        table = self._table()
        unit = intensityUnitOf(table) if table is not None else ""
        self._results.show(parameters.result, self._lesions(), unit, parameters.show3D)
        self._showOverlay()
        self._train.refresh()
        running = self._segmenter.busy
        for section in (self._model, self._images, self._options):
            section.setEnabled(not running)
        if not running:
            self._run.showIdle(self._whatIsMissing(entries, inputs))

    def _showOverlay(self) -> None:
        parameters, volume = self.parameters, self._uncertaintyVolume()
        if volume is None:
            self._overlay.show(False, parameters.overlayVisible, parameters.overlayOpacity, 0.0, 0.5)
            return
        self._overlay.show(
            True,
            parameters.overlayVisible,
            parameters.overlayOpacity,
            uncertainty.thresholdOf(volume),
            uncertainty.maximumOf(volume),
        )

    def _connectSections(self) -> None:
        self._dependency.installClicked.connect(self._onInstall)
        self._model.chosen.connect(self._onModel)
        self._images.inputChosen.connect(self._onInput)
        self._images.regionChosen.connect(self._onRegion)
        self._images.regionAdded.connect(self._onRegionAdded)
        self._options.deviceChosen.connect(lambda value: setattr(self.parameters, "device", value))
        self._options.samplesChosen.connect(lambda value: setattr(self.parameters, "samples", value))
        self._options.minimumMlChosen.connect(lambda value: setattr(self.parameters, "minimumMl", value))
        self._run.startClicked.connect(self._onStart)
        self._run.cancelClicked.connect(self._onCancel)
        self._results.resultChosen.connect(self._onResultChosen)
        self._results.lesionClicked.connect(self._onLesion)
        self._results.show3DChosen.connect(self._onShow3D)
        self._results.editClicked.connect(lambda: openSegmentEditor(self.parameters.result))
        self._overlay.visibleChosen.connect(self._onOverlayVisible)
        self._overlay.opacityChosen.connect(self._onOverlayOpacity)
        self._overlay.thresholdChosen.connect(self._onOverlayThreshold)
        self._train.said.connect(lambda text: self._log.append(text, private=True))
        self._train.installed.connect(self.reloadModels)
        self._log.copyClicked.connect(self._onCopyReport)

    def _onModel(self, identifier: str) -> None:
        self.parameters.model = identifier
        self.guess()

    def _onInput(self, name: str, node: Any) -> None:
        if not slicer.mrmlScene.IsBatchProcessing():
            self.parameters.setInput(name, node)

    def _onRegion(self, roi: Any) -> None:
        if not slicer.mrmlScene.IsBatchProcessing():
            self.parameters.roi = roi

    def _onRegionAdded(self, roi: Any) -> None:
        entries = self._entries()
        volume = self.parameters.input(entries[0]["name"]) if entries else None
        if volume is not None and volume.GetImageData() is not None:
            fitRoi(roi, volume)
        self.parameters.roi = roi

    def _onInstall(self) -> None:
        try:
            dependencies.install()
        except SegDLError as error:
            self._fail(error)
        self.reloadModels()

    def _onStart(self) -> None:
        parameters = self.parameters
        inputs = {entry["name"]: parameters.input(entry["name"]) for entry in self._entries()}
        self._lastError = None
        self._started = time.monotonic()
        self._log.append(_("Start: {model}").format(model=parameters.model))
        try:
            with slicer.util.WaitCursor():
                job = self._segmenter.segment(
                    inputs,
                    parameters.model,
                    roi=parameters.roi,
                    samples=parameters.samples,
                    device=parameters.device,
                    minimumMl=parameters.minimumMl,
                    closedSurface=parameters.show3D,
                    blocking=False,
                )
        except SegDLError as error:
            self._fail(error)
            return
        job.planned.connect(lambda plan: self._log.append(wording.planText(plan)))
        job.progressed.connect(self._onProgress)
        job.warned.connect(self._log.append)
        job.logged.connect(self._log.append)
        job.finished.connect(self._onFinished)
        job.failed.connect(self._fail)
        self.refresh()
        self._run.showRunning()

    def _onCancel(self) -> None:
        self._run.showCancelling()
        self._segmenter.cancel()

    def _onProgress(self, fraction: float, stage: str, secondsLeft: float | None) -> None:
        self._run.showProgress(fraction, wording.progressText(fraction, stage, secondsLeft))

    def _onFinished(self, nodes: Any) -> None:
        self.parameters.result = nodes.segmentation
        text = wording.resultText(self._lesions(), time.monotonic() - self._started)
        self._run.showMessage(text)
        self._log.append(text)
        self._applyOverlay()
        self.refresh()

    def _fail(self, error: SegDLError) -> None:
        cancelled = isinstance(error, Cancelled)
        self._lastError = None if cancelled else error
        text = wording.errorText(error)
        self._log.append(text)
        self.refresh()
        self._run.showMessage(text, error=not cancelled)

    def _onResultChosen(self, node: Any) -> None:
        if slicer.mrmlScene.IsBatchProcessing():
            return
        self.parameters.result = node
        self._applyOverlay()
        self.refresh()

    def _onLesion(self, row: int) -> None:
        lesions = self._lesions()
        if row < len(lesions) and None not in lesions[row]["centroid_ras"]:
            centerOn(lesions[row]["centroid_ras"])

    def _onShow3D(self, visible: bool) -> None:
        self.parameters.show3D = visible
        result = self.parameters.result
        if result is not None and visible:
            result.CreateClosedSurfaceRepresentation()
        elif result is not None:
            result.RemoveClosedSurfaceRepresentation()

    def _onOverlayVisible(self, visible: bool) -> None:
        self.parameters.overlayVisible = visible
        self._applyOverlay()

    def _onOverlayOpacity(self, opacity: float) -> None:
        self.parameters.overlayOpacity = opacity
        self._applyOverlay()

    def _onOverlayThreshold(self, lowest: float) -> None:
        volume = self._uncertaintyVolume()
        if volume is not None:
            uncertainty.setThreshold(volume, lowest)

    def _applyOverlay(self) -> None:
        """Show the current result's uncertainty in the slice views, or take away the one shown before."""
        volume = self._uncertaintyVolume() if self.parameters.overlayVisible else None
        if self._overlaid is not None and self._overlaid is not volume:
            uncertainty.hideOverlay(self._overlaid)
        if volume is not None:
            uncertainty.showOverlay(volume, self.parameters.overlayOpacity)
        self._overlaid = volume

    def _onCopyReport(self) -> None:
        engine = self._segmenter.engine
        settings = self.parameters.settings()
        names = [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLDisplayableNode")]
        report = diagnosticReport(settings, self._log.lines(), self._lastError, engine.tail, names)
        self._log.copy(report)
        self._log.append(_("The report is on the clipboard."))

    def _card(self) -> dict[str, Any] | None:
        identifier = self.parameters.model
        if identifier not in self._cards:
            if identifier not in {row["id"] for row in self._rows}:
                return None
            self._cards[identifier] = self._segmenter.card(identifier)
        return self._cards[identifier]

    def _installed(self) -> bool:
        """True if the chosen model has its weights."""
        return any(row["installed"] for row in self._rows if row["id"] == self.parameters.model)

    def _entries(self) -> list[dict[str, Any]]:
        card = self._card()
        return card["inputs"] if card else []

    def _table(self) -> Any:
        result = self.parameters.result
        return self._segmenter.lesionTable(result) if result is not None else None

    def _lesions(self) -> list[dict[str, Any]]:
        table = self._table()
        return lesionsFromTable(table) if table is not None else []

    def _uncertaintyVolume(self) -> Any:
        result = self.parameters.result
        return self._segmenter.uncertaintyVolume(result) if result is not None else None

    def _whatIsMissing(self, entries: list[dict[str, Any]], inputs: dict[str, Any]) -> str:
        """The first thing that keeps the run from starting; '' when all is there."""
        if self._missing:
            return _("Install the missing Python packages first.")
        if not self._installed():
            return _("Choose a model that is installed.")
        for entry in entries:
            if entry["required"] and inputs[entry["name"]] is None:
                return _("Choose the {name} volume.").format(name=entry["name"])
        return ""


def _preferredModel(rows: list[dict[str, Any]]) -> str:
    """The model to begin with: the usual one, else the first that is installed; '' if there is none."""
    usable = [row["id"] for row in rows if row["installed"]] or [row["id"] for row in rows]
    return DEFAULT_MODEL if DEFAULT_MODEL in usable else (usable or [""])[0]


def _isImage(node: Any) -> bool:
    """A volume to segment: neither labels nor vectors nor an uncertainty map of ours."""
    return node.GetClassName() == "vtkMRMLScalarVolumeNode" and node.GetAttribute("SegDL.Map") is None
