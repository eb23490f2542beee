"""SegDLTraining: the hidden companion module that starts and watches training outside Slicer.

Training itself is the pure-Python package SegDLTrainingLib (``segdl-train``); this module only launches it.
"""

import json
import logging
import os
import shutil
import subprocess
from pathlib import Path

from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
)


class SegDLTraining(ScriptedLoadableModule):
    """Describes the module to the application; it has no panel of its own."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("SegDL Training")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["SegDL"]
        self.parent.contributors = ["The SegDL developers"]
        self.parent.helpText = _(
            "Trains SegDL's networks on your own data, outside the application. Not for clinical use."
        )
        self.parent.acknowledgementText = ""
        self.parent.hidden = True


class SegDLTrainingLogic(ScriptedLoadableModuleLogic):
    """Starts trainings from Slicer's Python console."""

    def recipes(self):
        """The names of the recipes that come with the extension."""
        return sorted(path.stem for path in self._recipeFolder().glob("*.json"))

    def train(self, recipe, output, arguments=(), onEvent=None):
        """Run a recipe (a name or a file) to its end and return the folder of the trained model package.

        ``arguments`` are further arguments of ``segdl-train fit``; ``onEvent`` receives each progress event
        (a dictionary of SegDL's protocol) while the training runs.  Raises RuntimeError with the last error
        event when the training fails.
        """
        command = [self._python(), "-m", "SegDLTrainingLib", "fit", "--recipe", str(recipe)]
        command += ["--output", str(output), "--progress", "json", *map(str, arguments)]
        problem = _("the training ended without a result")
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, env=self._environment(), text=True, encoding="utf-8"
        )
        with process:
            for line in process.stdout:
                try:
                    event = json.loads(line)
                except ValueError:
                    logging.info(line.rstrip())
                    continue
                if event.get("event") == "error":
                    problem = " ".join(filter(None, (event.get("text"), event.get("hint"))))
                if onEvent is not None:
                    onEvent(event)
        if process.returncode != 0:
            raise RuntimeError(_("Training failed: {problem}").format(problem=problem))
        return str(output)

    @staticmethod
    def _recipeFolder():
        return Path(__file__).resolve().parent / "Resources" / "Recipes"

    @staticmethod
    def _python():
        found = shutil.which("PythonSlicer")
        if not found:
            raise RuntimeError(
                _("PythonSlicer was not found on the PATH, so no training can be started from here.")
            )
        return found

    @staticmethod
    def _environment():
        """The child finds both packages, in an installed extension and in a source tree alike."""
        here = Path(__file__).resolve().parent
        folders = [here, here.parent / "SegDL"]
        inherited = os.environ.get("PYTHONPATH")
        path = [str(folder) for folder in folders if folder.is_dir()] + ([inherited] if inherited else [])
        return dict(os.environ, PYTHONPATH=os.pathsep.join(path))


class SegDLTrainingTest(ScriptedLoadableModuleTest):
    """The self test that Slicer runs."""

    def test_recipes_are_listed(self):
        self.assertIn("lung-tumor-unet2d", SegDLTrainingLogic().recipes())
