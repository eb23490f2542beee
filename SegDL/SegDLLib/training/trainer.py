"""What the console, the panel and scripts share about training: recipes, data, trainings, their packages."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from SegDLEngine.errors import InputError, SegDLError
from SegDLEngine.models.card import CARD_FILE, ModelCard

from SegDLLib.signals import Relay
from SegDLLib.training.package_path import hasCheckpoint, makeImportable

Progress = Callable[[float, str, float | None, dict[str, Any]], Any]


class Trainer:
    """Runs one training, check or installation at a time, beside the application."""

    def __init__(self) -> None:
        self._process: Any = None
        self._task: Any = None

    def __del__(self) -> None:
        # A logic that a script made for one call leaves no process behind.  When Python itself ends, the
        # application's end has stopped the process already, and Qt's objects are no longer there.
        if not sys.is_finalizing():
            with contextlib.suppress(Exception):
                self.shutdown()

    @property
    def busy(self) -> bool:
        return self._task is not None and self._task.active

    @property
    def process(self):
        """The process of trainings, made when first needed; without Qt it works only in blocking calls."""
        if self._process is None:
            try:
                from SegDLLib.training.training_process import TrainingProcess

                self._process = TrainingProcess()
            except ModuleNotFoundError:
                from SegDLLib.training.plain_process import PlainProcess

                self._process = PlainProcess()
        return self._process

    def recipes(self) -> list[dict[str, Any]]:
        """One row for each shipped recipe of a segmentation: id, title, report, ``ownData`` (it generates its
        cases itself), ``needsStart`` (it is trained only from given weights).
        """
        makeImportable()
        from SegDLTrainingLib.recipes import SEGMENTATION, list_recipes

        return [_row(recipe) for recipe in list_recipes() if recipe.task == SEGMENTATION]

    def recipe(self, recipe: str | Path) -> dict[str, Any]:
        """The row of one recipe, a shipped one or a file; raises InputError."""
        makeImportable()
        from SegDLTrainingLib.recipes import load_recipe

        return _row(load_recipe(recipe))

    def startingModels(self) -> list[dict[str, str]]:
        """id and title of each model whose weights a training can go on from: installed, and no ensemble."""
        from SegDLEngine.models.catalogue import list_models

        usable = [model for model in list_models() if model.installed and len(model.card.weight_files) == 1]
        return [{"id": model.id, "title": model.card.title} for model in usable]

    def train(
        self,
        recipe: str | Path,
        output: str | Path,
        data: str | Path | None = None,
        *,
        scene: bool = False,
        startFrom: str | Path = "",
        device: str = "auto",
        epochs: int | None = None,
        arguments: Sequence[Any] = (),
        blocking: bool = True,
        onProgress: Progress | None = None,
        onFinished: Callable[[Path], Any] | None = None,
        onError: Callable[[SegDLError], Any] | None = None,
    ):
        """Train after a recipe into the package ``output``; goes on where such a training was stopped.

        Blocking: returns the folder of the package, or raises SegDLError.  Otherwise returns a
        ``TrainingJob`` at once; ``onFinished(folder)`` or ``onError(error)`` follows from the event loop.
        ``onProgress(fraction, stage, secondsLeft, event)``: 0..1, name, seconds or None, what else is known.

        ``data``: folder or manifest; ``scene``: the segmentations of the open scene instead, written beside
        ``output``; neither: the recipe's generated cases.  ``startFrom``: the id of a model, a package or a
        file of weights that are trained further; "" for random ones.  ``device``: auto, cpu, cuda:<n>;
        ``arguments``: further ones of ``segdl-train fit``, paths among them absolute.
        """
        from SegDLLib.training.training_job import TrainingJob, TrainingRequest

        if not str(output):
            raise InputError("No folder for the model is given.", hint="Choose an output folder.")
        words = ["--device", device, *map(str, arguments)]
        words += ["--epochs", str(epochs)] if epochs is not None else []
        words += ["--start-from", _modelOrPath(startFrom)] if startFrom else []
        request = TrainingRequest(
            _nameOrPath(recipe),
            self._card(recipe, needsData=data is None and not scene),
            _absolute(output),
            _absolute(data) if data is not None else None,
            scene,
            tuple(words),
        )
        job = TrainingJob(self.process, request)
        # As long as the job runs, its process is needed.
        job.owner = self
        return self._run(job, blocking, onProgress, onFinished, onError)

    def exportScene(self, recipe: str | Path, folder: str | Path) -> Path:
        """Write the scene's cases as the recipe wants them; returns the manifest, data of any training."""
        from SegDLLib.training.export_task import ExportTask

        return self._run(ExportTask(self._card(recipe), _absolute(folder)))

    def check(self, recipe: str | Path, data: str | Path) -> dict[str, Any]:
        """Read all cases; returns ``cases``, ``problems`` (case, severity, text, hint) and ``usable``."""
        from SegDLLib.training.check_task import CheckTask

        return self._run(CheckTask(self.process, _nameOrPath(recipe), _absolute(data)))

    def install(
        self,
        package: str | Path,
        *,
        blocking: bool = True,
        onFinished: Callable[[str], Any] | None = None,
        onError: Callable[[SegDLError], Any] | None = None,
    ):
        """Put a finished package into the model list; the id there, or as ``train`` says without blocking."""
        from SegDLLib.training.install_task import InstallTask

        task = InstallTask(self.process, _absolute(package))
        return self._run(task, blocking, None, onFinished, onError)

    def canContinue(self, output: str | Path) -> bool:
        """True if a training into ``output`` was stopped and goes on when it is started again."""
        return hasCheckpoint(_absolute(output))

    def isFinished(self, output: str | Path) -> bool:
        """True if ``output`` is a package; a training writes it whole or not at all."""
        return (_absolute(output) / CARD_FILE).is_file()

    def table(self, output: str | Path):
        """The table node with the curve of the training into ``output``, or None."""
        from SegDLLib.training.curve_nodes import tableOfTraining

        return tableOfTraining(str(_absolute(output)))

    def stop(self, *, atOnce: bool = False) -> None:
        """Stop what runs, a training with a checkpoint; its ``onError`` hears Cancelled.

        ``atOnce``: do not wait for the step; what was trained since the last checkpoint is lost.
        """
        if self.busy:
            self._task.stop()
        if atOnce and self.busy:
            self.process.kill()

    def shutdown(self) -> None:
        """Stop a training, wait for its checkpoint, and end the process; the object can be used again."""
        if self.busy:
            self._task.discard()
        if self._process is not None:
            self._process.close()
            self._process = None

    def _card(self, recipe: str | Path, *, needsData: bool = False) -> ModelCard:
        makeImportable()
        from SegDLTrainingLib.recipes import load_recipe

        found = load_recipe(recipe)
        if needsData and not _hasOwnData(found):
            raise InputError(
                f"The recipe '{found['id']}' needs cases.", hint="Choose a folder or manifest, or the scene."
            )
        return ModelCard(found.card)

    def _run(self, task, blocking=True, onProgress=None, onFinished=None, onError=None):
        if self.busy:
            raise SegDLError("A training is running.", hint="Wait for its end or stop it.", code="busy")
        if not blocking and self.process.worksOnlyWhileWaited:
            raise SegDLError("Without Qt a training blocks.", hint="Use blocking=True.")
        if onFinished is not None:
            task.finished.connect(onFinished)
        if onError is not None:
            task.failed.connect(onError)
        self._task = task
        if not blocking:
            if onProgress is not None:
                task.progressed.connect(onProgress)
            task.start()
            return task
        relay = Relay(onProgress)
        task.progressed.connect(relay.receive)
        task.start()
        return task.wait(relay)


def _nameOrPath(recipe: str | Path) -> str:
    """A recipe as the process understands it, which works in another folder; see ``load_recipe``."""
    path = Path(recipe)
    return str(path.absolute()) if path.is_file() else str(recipe)


def _modelOrPath(model: str | Path) -> str:
    """A model as the process understands it, which works in another folder; ids go before paths there too."""
    from SegDLEngine.models.catalogue import list_models

    path = _absolute(model)
    isPath = path.exists() and str(model) not in {known.id for known in list_models()}
    return str(path) if isPath else str(model)


def _absolute(path: str | Path) -> Path:
    return Path(path).expanduser().absolute()


def _row(recipe) -> dict[str, Any]:
    named = {key: recipe[key] for key in ("id", "title", "report")}
    return {**named, "ownData": _hasOwnData(recipe), "needsStart": recipe.needs_start}


def _hasOwnData(recipe) -> bool:
    """True if the recipe says where its cases come from; a manifest must be given."""
    return recipe["data"]["source"] != "manifest" or "path" in recipe["data"]
