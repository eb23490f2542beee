"""SegDLTraining: the hidden companion module that starts and watches training outside Slicer.

Training itself is the pure-Python package SegDLTrainingLib (``segdl-train``); what launches and follows it is
``SegDLLib.training`` of the module SegDL, whose panel has a section for it.
"""

from __future__ import annotations

import slicer
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
    """For the Python console and for scripts; see ``SegDLLib.training.trainer.Trainer`` for all arguments.

    Example::

        logic = SegDLTrainingLogic()
        package = logic.train(recipe="lung-tumor-unet2d", data="cases.csv", output="my-lung-model")
        identifier = logic.install(package)
    """

    def __init__(self, parent=None):
        # Not at file scope: Slicer may read this file before it knows the folder of SegDL.
        from SegDLLib.training.trainer import Trainer

        ScriptedLoadableModuleLogic.__init__(self, parent)
        self.trainer = Trainer()

    def recipes(self):
        """The names of the recipes that come with the extension."""
        return [row["id"] for row in self.trainer.recipes()]

    def exportScene(self, recipe, folder):
        """Write the segmentations of the scene with their volumes as cases; returns the manifest's path."""
        return self.trainer.exportScene(recipe, folder)

    def check(self, recipe, data):
        """Read all cases of a folder or manifest; returns the report with ``problems`` and ``usable``."""
        return self.trainer.check(recipe, data)

    def train(self, recipe, output, data=None, **options):
        """Train after a recipe (a name or a file) and return the folder of the model package.

        ``data``: folder or manifest; ``scene=True``: the segmentations of the open scene.  A training that
        was stopped goes on where it was.  Further: ``startFrom`` (a model's id, a package or a file of
        weights), ``device``, ``epochs``, ``arguments`` (of ``segdl-train fit``), ``blocking`` (True),
        ``onProgress(fraction, stage, secondsLeft, event)``, ``onFinished(folder)``, ``onError(error)``.  With
        ``blocking=False`` returns the running job.  The curve appears in the scene as a table with charts.
        Raises SegDLEngine.errors.SegDLError; never shows a dialog.
        """
        return self.trainer.train(recipe, output, data, **options)

    def install(self, package, **options):
        """Put a finished package into the model list and return its id there."""
        return self.trainer.install(package, **options)

    def curves(self, output):
        """The table node of the training of a package, or None."""
        return self.trainer.table(output)

    def stop(self, atOnce=False):
        """Stop the training after its step, with a checkpoint; ``atOnce``: kill it, with earlier ones."""
        self.trainer.stop(atOnce=atOnce)

    def shutdown(self):
        """Stop a training, wait for its checkpoint and end its process."""
        self.trainer.shutdown()


class SegDLTrainingTest(ScriptedLoadableModuleTest):
    """The self test that Slicer runs."""

    def setUp(self):
        slicer.mrmlScene.Clear(0)

    def test_recipes_are_listed(self):
        self.assertIn("lung-tumor-unet2d", SegDLTrainingLogic().recipes())

    def test_curve_of_a_training(self):
        from SegDLLib.training.curve_nodes import charts, makeCurves, setRow

        table = makeCurves("self-test", "self-test training")
        for epoch in (0, 1, 1):
            setRow(table, {"epoch": epoch, "loss": 0.5, "rate": 0.001, "seconds": 1.0})
        self.assertEqual(table.GetNumberOfRows(), 2)
        self.assertEqual(len(charts(table)), 2)
