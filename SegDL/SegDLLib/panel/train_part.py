"""The panel's part for training: choices into the parameter node, the trainer's news onto the screen."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import qt
import slicer
from SegDLEngine.errors import Cancelled, SegDLError
from slicer.i18n import tr as _

from SegDLLib.panel import wording
from SegDLLib.panel.train_section import (
    FILES,
    INSTALLING,
    LATE,
    OWN,
    SCENE,
    STOPPING,
    TRAINING,
    TrainSection,
)
from SegDLLib.parameters import Parameters
from SegDLLib.signals import Signal
from SegDLLib.training import curve_nodes
from SegDLLib.training.trainer import Trainer

# After so long a user may want to stop at once; a double click on "Stop training" is not meant so.
_PATIENCE_MS = 10000


class TrainPart:
    """Signals ``said(text)`` for the log, and ``installed()`` when the list of models has changed."""

    def __init__(self, ui: Any, trainer: Trainer, getParameters: Callable[[], Parameters]):
        self._trainer = trainer
        self._getParameters = getParameters
        self._recipes: list[dict[str, Any]] = []
        self._models: list[dict[str, str]] = []
        self._modelsKnown = False
        self._state = TRAINING
        self._patience = qt.QTimer()
        self._patience.setSingleShot(True)
        self._patience.connect("timeout()", self._onLate)
        self.said, self.installed = Signal(), Signal()
        self._section = section = TrainSection(ui)
        section.opened.connect(self.refresh)
        section.recipeChosen.connect(self._onRecipe)
        section.startChosen.connect(lambda value: self._choose("trainStart", value))
        section.sourceChosen.connect(lambda value: self._choose("trainSource", value))
        section.dataChosen.connect(lambda value: self._choose("trainData", value))
        section.outputChosen.connect(lambda value: self._choose("trainOutput", value))
        section.startClicked.connect(self._onStart)
        section.stopClicked.connect(self._onStop)
        section.curvesClicked.connect(self._onCurves)
        section.installClicked.connect(self._onInstall)

    def refresh(self) -> None:
        """Show the parameter node; recipes and models are read when the section is first opened."""
        if not self._section.open or slicer.mrmlScene.IsBatchProcessing():
            return
        parameters = self._getParameters()
        problem = self._readRecipes(parameters.trainRecipe)
        if not self._modelsKnown and not problem:
            self._models, self._modelsKnown = self._trainer.startingModels(), True
        sources = self._sources(parameters.trainRecipe)
        source = parameters.trainSource if parameters.trainSource in sources else sources[0]
        output = parameters.trainOutput
        finished = bool(output) and self._trainer.isFinished(output)
        continues = bool(output) and not finished and self._trainer.canContinue(output)
        self._section.showRecipes(self._recipes, parameters.trainRecipe)
        self._section.showStarts(self._models, parameters.trainStart)
        self._section.showCases(sources, source, parameters.trainData, parameters.trainOutput)
        if self._trainer.busy:
            self._section.showRunning(self._state)
        else:
            missing = problem or self._whatIsMissing(source)
            self._section.showIdle(missing, resumes=continues, finished=finished)
        self._section.showCurve(self._table(), finished)

    def forgetModels(self) -> None:
        """The list of models may have changed; it is read again when it is shown next."""
        self._modelsKnown = False

    def close(self) -> None:
        """Stop the timer; nothing is called afterwards."""
        self._patience.stop()
        self._patience.disconnect("timeout()", self._onLate)

    def _choose(self, name: str, value: str) -> None:
        # The parameter node's event refreshes the panel.
        setattr(self._getParameters(), name, value)

    def _readRecipes(self, chosen: str) -> str:
        """Know the shipped recipes and the chosen file; why they cannot be shown, '' if they can."""
        try:
            if not self._recipes:
                with slicer.util.WaitCursor():
                    self._recipes = self._trainer.recipes()
        except SegDLError as error:
            return wording.errorText(error)
        except ImportError:
            return _("Install the missing Python packages first.")
        with contextlib.suppress(SegDLError):
            self._learn(chosen)  # A file that a saved scene names may be gone.
        return ""

    def _learn(self, recipe: str) -> None:
        """Put a recipe's file behind the shipped ones; raises SegDLError when it is none."""
        if recipe and recipe not in {row["id"] for row in self._recipes}:
            self._recipes.append({**self._trainer.recipe(recipe), "id": recipe})

    def _onRecipe(self, recipe: str) -> None:
        try:
            self._learn(recipe)
        except SegDLError as error:
            self._onError(error)
        else:
            self._choose("trainRecipe", recipe)

    def _sources(self, recipe: str) -> list[str]:
        own = any(row["ownData"] for row in self._recipes if row["id"] == recipe)
        return [FILES, SCENE, OWN] if own else [FILES, SCENE]

    def _whatIsMissing(self, source: str) -> str:
        parameters = self._getParameters()
        recipe = next((row for row in self._recipes if row["id"] == parameters.trainRecipe), None)
        if recipe is None:
            return _("Choose a recipe.")
        if recipe["needsStart"] and not parameters.trainStart:
            return _("This recipe goes on from trained weights: choose them at 'Start from'.")
        if source == FILES and not parameters.trainData:
            return _("Choose the folder or table of cases.")
        if not os.path.isabs(os.path.expanduser(parameters.trainOutput)):
            return _("Choose a folder for the model.")
        return ""

    def _onStart(self) -> None:
        parameters = self._getParameters()
        source = parameters.trainSource
        if source not in self._sources(parameters.trainRecipe):
            source = FILES
        self._state = TRAINING
        self._section.showMessage(_("Starting..."))
        self.said.emit(_("Training: {recipe}").format(recipe=parameters.trainRecipe))
        try:
            job = self._trainer.train(
                parameters.trainRecipe,
                parameters.trainOutput,
                parameters.trainData if source == FILES else None,
                scene=source == SCENE,
                startFrom=parameters.trainStart,
                device=parameters.device,
                blocking=False,
                onProgress=self._onProgress,
                onFinished=self._onFinished,
                onError=self._onError,
            )
        except SegDLError as error:
            self._onError(error)
            return
        job.logged.connect(self.said.emit)
        job.warned.connect(self.said.emit)
        job.tableMade.connect(lambda table: self.refresh())
        self.refresh()

    def _onStop(self, atOnce: bool) -> None:
        self._state = STOPPING
        self._section.showMessage(_("Stopping...") if atOnce else _("Stopping after this step..."))
        self._patience.start(_PATIENCE_MS)
        self._trainer.stop(atOnce=atOnce)
        self.refresh()

    def _onLate(self) -> None:
        if self._trainer.busy and self._state == STOPPING:
            self._state = LATE
            self.refresh()

    def _onProgress(
        self, fraction: float, stage: str, secondsLeft: float | None, details: Mapping[str, Any]
    ) -> None:
        if self._state == TRAINING:
            self._section.showProgress(fraction, wording.trainingText(fraction, stage, secondsLeft, details))

    def _onFinished(self, folder: Path) -> None:
        # Another scene that was added meanwhile has brought its own choices.
        self._choose("trainOutput", str(folder))
        self._say(_("The training is finished. Install the model to use it."))

    def _onError(self, error: SegDLError) -> None:
        if isinstance(error, Cancelled):
            output = self._getParameters().trainOutput
            goesOn = bool(output) and self._trainer.canContinue(output)
            self._say(f"{error.text} {_('Continue training goes on from here.') if goesOn else ''}".strip())
            return
        if error.detail:
            self.said.emit(error.detail)
        self._say(wording.errorText(error), error=True)

    def _onInstall(self) -> None:
        self._state = INSTALLING
        self._section.showMessage(_("Checking the model..."))
        try:
            self._trainer.install(
                self._getParameters().trainOutput,
                blocking=False,
                onFinished=self._onInstalled,
                onError=self._onError,
            )
        except SegDLError as error:
            self._onError(error)
            return
        self.refresh()

    def _onInstalled(self, identifier: str) -> None:
        self.installed.emit()
        self._say(_("The model is in the list as '{name}'.").format(name=identifier))

    def _say(self, text: str, *, error: bool = False) -> None:
        self.said.emit(text)
        self.refresh()
        self._section.showMessage(text, error=error)

    def _onCurves(self) -> None:
        table = self._table()
        if table is not None:
            curve_nodes.showCharts(table)

    def _table(self) -> Any:
        output = self._getParameters().trainOutput
        return self._trainer.table(output) if output else None
