"""The widgets for training: what, from which cases, where to; the button, the progress, the curve."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import qt
from SegDLEngine.models.card import CARD_FILE
from slicer.i18n import tr as _

from SegDLLib.panel.run_section import ERROR_STYLE
from SegDLLib.signals import Signal

FILES, SCENE, OWN = "files", "scene", "own"
TRAINING, STOPPING, LATE, INSTALLING = "training", "stopping", "late", "installing"


class TrainSection:
    """Signals ``opened()``, ``recipeChosen(id)``, ``startChosen(id, path or "")``,
    ``sourceChosen(FILES, SCENE or OWN)``, ``dataChosen(path)``, ``outputChosen(path)``, ``startClicked()``,
    ``stopClicked(atOnce)``, ``curvesClicked()``, ``installClicked()``.
    """

    def __init__(self, ui):
        self._ui = ui
        self._running = self._hinting = False
        self._ids: list[str] = []
        self._starts: list[tuple[str, str]] = []
        self._sources: list[str] = []
        self.opened = Signal()
        self.recipeChosen, self.startChosen, self.sourceChosen = Signal(), Signal(), Signal()
        self.dataChosen, self.outputChosen = Signal(), Signal()
        self.startClicked, self.stopClicked = Signal(), Signal()
        self._state = TRAINING
        self.curvesClicked, self.installClicked = Signal(), Signal()
        ui.trainTable.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        ui.trainCollapsibleButton.connect("contentsCollapsed(bool)", self._onCollapsed)
        ui.trainRecipeSelector.connect("currentIndexChanged(int)", self._onRecipe)
        ui.trainRecipeButton.connect("clicked()", self._onRecipeFile)
        ui.trainStartSelector.connect("currentIndexChanged(int)", self._onStart)
        ui.trainStartButton.connect("clicked()", self._onStartFile)
        ui.trainSourceSelector.connect("currentIndexChanged(int)", self._onSource)
        _watchPath(ui.trainDataPath, self.dataChosen)
        _watchPath(ui.trainOutputPath, self.outputChosen)
        ui.trainTableButton.connect("clicked()", self._onTableFile)
        ui.trainButton.connect("clicked()", self._onClicked)
        ui.trainCurvesButton.connect("clicked()", self.curvesClicked.emit)
        ui.trainInstallButton.connect("clicked()", self.installClicked.emit)

    @property
    def open(self) -> bool:
        return not self._ui.trainCollapsibleButton.collapsed

    def showRecipes(self, rows: Sequence[Mapping[str, Any]], current: str) -> None:
        """List the recipes (id or file, title) with their titles as tooltips, and select one."""
        selector, ids = self._ui.trainRecipeSelector, [row["id"] for row in rows]
        selector.blockSignals(True)
        if ids != self._ids:
            self._ids = ids
            selector.clear()
            for index, row in enumerate(rows):
                selector.addItem(os.path.basename(row["id"]))
                selector.setItemData(index, row["title"], qt.Qt.ToolTipRole)
        selector.setCurrentIndex(ids.index(current) if current in ids else -1)
        selector.blockSignals(False)
        title = next((row["title"] for row in rows if row["id"] == current), "")
        self._ui.trainRecipeInfo.setText(title)

    def showStarts(self, models: Sequence[Mapping[str, str]], current: str) -> None:
        """Offer random weights, the models (id, title), and ``current`` if it is a path or a model that is
        gone.
        """
        selector = self._ui.trainStartSelector
        starts = [("", _("Random weights")), *((row["id"], row["title"]) for row in models)]
        if current not in dict(starts):
            starts.append((current, os.path.basename(current)))
        selector.blockSignals(True)
        if starts != self._starts:
            self._starts = starts
            selector.clear()
            for index, (start, name) in enumerate(starts):
                selector.addItem(name)
                selector.setItemData(index, start if os.path.isabs(start) else name, qt.Qt.ToolTipRole)
        selector.setCurrentIndex([start for start, name in starts].index(current))
        selector.blockSignals(False)

    def showCases(self, sources: Sequence[str], current: str, data: str, output: str) -> None:
        """Offer the sources that the recipe can take, and show the chosen one, its path and the output."""
        ui = self._ui
        for widget in (ui.trainSourceSelector, ui.trainDataPath, ui.trainOutputPath):
            widget.blockSignals(True)
        if list(sources) != self._sources:
            self._sources = list(sources)
            ui.trainSourceSelector.clear()
            for source in self._sources:
                ui.trainSourceSelector.addItem(_sourceName(source), source)
        ui.trainSourceSelector.setCurrentIndex(
            self._sources.index(current) if current in self._sources else -1
        )
        for widget, path in ((ui.trainDataPath, data), (ui.trainOutputPath, output)):
            if widget.currentPath != path:
                widget.setCurrentPath(path)
        for widget in (ui.trainSourceSelector, ui.trainDataPath, ui.trainOutputPath):
            widget.blockSignals(False)
        for widget in (ui.trainDataLabel, ui.trainDataPath, ui.trainTableButton):
            widget.setVisible(current == FILES)

    def showCurve(self, table: Any, installable: bool) -> None:
        """The table node of the training, or None; ``installable``: its package is finished."""
        ui = self._ui
        if ui.trainTable.mrmlTableNode() is not table:
            ui.trainTable.setMRMLTableNode(table)
        ui.trainTable.setVisible(table is not None)
        ui.trainCurvesButton.setVisible(table is not None)
        ui.trainInstallButton.setVisible(installable)
        ui.trainInstallButton.setEnabled(not self._running)

    def showIdle(self, hint: str, *, resumes: bool, finished: bool) -> None:
        """The button starts, unless ``hint`` says what is missing or the model is ``finished``.

        ``resumes``: there is a checkpoint to go on from.
        """
        ui = self._ui
        done = _("The model in this folder is finished: install it, or choose another folder to train again.")
        reason = hint or (done if finished else "")
        self._running = False
        self._setChoicesEnabled(True)
        ui.trainButton.setText(_("Continue training") if resumes else _("Start training"))
        ui.trainButton.setEnabled(not reason)
        ui.trainButton.setToolTip(reason or _("Train beside Slicer, which stays usable meanwhile."))
        ui.trainProgressBar.setVisible(False)
        # What the last training said stays until there is something to say about the next.
        if hint or self._hinting or not ui.trainStatusLabel.text:
            self.showMessage(reason)
            self._hinting = bool(reason)

    def showRunning(self, state: str = TRAINING) -> None:
        """``state``: TRAINING, which can be stopped, STOPPING, LATE (it takes long to stop) or INSTALLING."""
        ui = self._ui
        self._running, self._state = True, state
        self._setChoicesEnabled(False)
        text, toolTip = _stateTexts(state)
        ui.trainButton.setText(text)
        ui.trainButton.setToolTip(toolTip)
        ui.trainButton.setEnabled(state in (TRAINING, LATE))
        ui.trainInstallButton.setEnabled(False)

    def showProgress(self, fraction: float, text: str) -> None:
        """``fraction`` 0..1 of the whole."""
        self._ui.trainProgressBar.setVisible(True)
        self._ui.trainProgressBar.setValue(round(1000 * fraction))
        self.showMessage(text)

    def showMessage(self, text: str, *, error: bool = False) -> None:
        self._hinting = False
        self._ui.trainStatusLabel.setStyleSheet(ERROR_STYLE if error else "")
        self._ui.trainStatusLabel.setText(text)

    def _setChoicesEnabled(self, enabled: bool) -> None:
        ui = self._ui
        model = (ui.trainRecipeSelector, ui.trainRecipeButton, ui.trainStartSelector, ui.trainStartButton)
        cases = (ui.trainSourceSelector, ui.trainDataPath, ui.trainTableButton)
        for widget in (*model, *cases, ui.trainOutputPath):
            widget.setEnabled(enabled)

    def _onCollapsed(self, collapsed: bool) -> None:
        if not collapsed:
            self.opened.emit()

    def _onRecipe(self, index: int) -> None:
        if 0 <= index < len(self._ids):
            self.recipeChosen.emit(self._ids[index])

    def _onRecipeFile(self) -> None:
        path = _askForFile(self._ui.trainRecipeButton, _("Choose a recipe"), _("Recipes (*.json)"))
        if path:
            self.recipeChosen.emit(path)

    def _onStart(self, index: int) -> None:
        if 0 <= index < len(self._starts):
            self.startChosen.emit(self._starts[index][0])

    def _onStartFile(self) -> None:
        kinds = _("Models and weights (model.json *.zip *.safetensors)")
        path = _askForFile(self._ui.trainStartButton, _("Choose a model or weights"), kinds)
        folder, name = os.path.split(path)
        if path:
            # A package is known by the name of its folder.
            self.startChosen.emit(folder if name == CARD_FILE else path)

    def _onTableFile(self) -> None:
        kinds = _("Tables of cases (*.csv *.json)")
        path = _askForFile(self._ui.trainTableButton, _("Choose a table of cases"), kinds)
        if path:
            self.dataChosen.emit(path)

    def _onSource(self, index: int) -> None:
        if 0 <= index < len(self._sources):
            self.sourceChosen.emit(self._sources[index])

    def _onClicked(self) -> None:
        if self._running:
            self.stopClicked.emit(self._state == LATE)
        else:
            self.startClicked.emit()


def _watchPath(widget: Any, chosen: Signal) -> None:
    widget.connect("currentPathChanged(QString)", chosen.emit)
    # The only signal when the path is deleted.
    widget.connect("validInputChanged(bool)", lambda valid: chosen.emit(widget.currentPath))


def _askForFile(parent: Any, title: str, kinds: str) -> str:
    """The path of the file that the user chooses; '' if none."""
    return qt.QFileDialog.getOpenFileName(parent, title, "", kinds)


def _stateTexts(state: str) -> tuple[str, str]:
    """Text and tooltip of the button."""
    lost = _("Do not wait for the step.  What was trained since the last checkpoint is lost.")
    return {
        TRAINING: (_("Stop training"), _("End after the current step with a checkpoint, to go on later.")),
        STOPPING: (_("Stopping..."), _("The current step is finished and a checkpoint is written.")),
        LATE: (_("Stop at once"), lost),
        INSTALLING: (_("Installing..."), _("The model is checked and put into the list.")),
    }[state]


def _sourceName(source: str) -> str:
    return {
        FILES: _("a folder or table of cases"),
        SCENE: _("segmentations in this scene"),
        OWN: _("generated by the recipe"),
    }[source]
