"""SegDL: segments tumours with deep learning.  Research software, not for clinical use."""

from __future__ import annotations

import slicer
import vtk
from SegDLLib.segmenter import Segmenter
from SegDLLib.training.trainer import Trainer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class SegDL(ScriptedLoadableModule):
    """The module as Slicer lists it."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("SegDL")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = []
        self.parent.contributors = ["The SegDL developers"]
        self.parent.helpText = _(
            "Finds tumors in CT and other images with deep-learning models: choose a model and the images,"
            " click <b>Segment tumor</b>, then review and correct the result.  The result is an ordinary"
            " segmentation with coded segments, a table of lesions and a map of the model's uncertainty.<br>"
            "<b>Research software. Not for clinical use.</b>"
        )
        self.parent.acknowledgementText = _("Licensed under the Apache License 2.0.")


class SegDLWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel and the scene events that concern it."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None

    def setup(self):
        from SegDLLib.panel.panel import Panel

        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/SegDL.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = SegDLLogic()
        self.panel = Panel(self.ui, self.logic.segmenter, self.logic.trainer, self.logic.getParameterNode)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneReplaced)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneReplaced)
        self.addObserver(scene, scene.NodeAddedEvent, self.onNodeAdded)
        self.observeParameterNode()

    def cleanup(self):
        """Before the module is reloaded or Slicer ends: no observer, timer or process stays."""
        self.removeObservers()
        if self.panel is not None:
            self.panel.close()
        if self.logic is not None:
            self.logic.shutdown()

    def enter(self):
        self.panel.reloadModels()

    def observeParameterNode(self):
        """Follow the scene's parameter node; a scene that is read brings its own."""
        self.removeObservers(self.onParametersModified)
        node = self.logic.getParameterNode()
        self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)

    def onParametersModified(self, caller=None, event=None):
        self.panel.refresh()

    def onSceneStartClose(self, caller, event):
        self.logic.cancel()
        self.logic.trainer.stop()

    def onSceneReplaced(self, caller, event):
        self.observeParameterNode()
        self.panel.reloadModels()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeAdded(self, caller, event, node):
        if node.IsA("vtkMRMLScalarVolumeNode") and not slicer.mrmlScene.IsImporting():
            self.panel.guessSoon()


class SegDLLogic(ScriptedLoadableModuleLogic):
    """For the Python console and for scripts; see ``SegDLLib.segmenter.Segmenter`` for all arguments.

    Example::

        segmentation = SegDLLogic().segment({"CT": volumeNode}, model="lung-tumor-unet2d")
    """

    def __init__(self, parent=None):
        ScriptedLoadableModuleLogic.__init__(self, parent)
        self.segmenter = Segmenter()
        self.trainer = Trainer()

    def segment(self, inputs, model="lung-tumor-unet2d", roi=None, samples=None, device="auto", **options):
        """Segment volume nodes (input name -> node); adds the result to the scene.

        ``roi``: markups ROI node or six RAS bounds in mm; ``samples``: Monte Carlo passes; ``device``: auto,
        cpu, cuda, mps.  Further: ``minimumMl``, ``threshold``, ``precision``, ``seed``, ``name``,
        ``closedSurface``, ``blocking`` (True), ``inProcess``, ``onProgress(fraction, stage, secondsLeft)``,
        ``onFinished(segmentationNode)``, ``onError(error)``.  Returns the vtkMRMLSegmentationNode, or with
        ``blocking=False`` the running job.  Raises SegDLEngine.errors.SegDLError; never shows a dialog.
        """
        return self.segmenter.segment(inputs, model, roi=roi, samples=samples, device=device, **options)

    def models(self):
        """One row for each model: id, title, inputs, labels, installed, licence."""
        return self.segmenter.models()

    def lesionTable(self, segmentationNode):
        """The table node with the lesions of a result, or None."""
        return self.segmenter.lesionTable(segmentationNode)

    def uncertaintyVolume(self, segmentationNode):
        """The uncertainty volume of a result, or None."""
        return self.segmenter.uncertaintyVolume(segmentationNode)

    def cancel(self):
        """Cancel the running segmentation, if any."""
        self.segmenter.cancel()

    def shutdown(self):
        """End the engine's process; it starts again with the next segmentation.  A training is stopped."""
        self.segmenter.shutdown()
        self.trainer.shutdown()


class SegDLTest(ScriptedLoadableModuleTest):
    """Self test on a small generated image; needs neither display nor network."""

    def setUp(self):
        slicer.mrmlScene.Clear(0)

    def test_volumeRoundTrip(self):
        import numpy as np
        from SegDLLib.nodes import imageFromVolume, volumeFromImage

        volume = self._phantom()
        image = imageFromVolume(volume)
        copy = imageFromVolume(volumeFromImage(image, "copy"))
        self.assertTrue(np.array_equal(copy.array, image.array))
        self.assertLess(np.abs(copy.grid.ijk_to_ras - image.grid.ijk_to_ras).max(), 1e-6)
        self.assertEqual((image.modality, image.unit), ("CT", "HU"))
        self.delayDisplay(_("Volumes go to the engine and back."))

    def test_segment(self):
        import numpy as np
        from SegDLLib import dependencies

        logic = SegDLLogic()
        absent = [str(item) for item in dependencies.missing()]
        rows = [] if absent else logic.models()
        models = [row["id"] for row in rows if row["installed"] and row["inputs"] == ["CT"]]
        if not models:
            reason = ", ".join(absent) or _("no CT model is installed")
            self.delayDisplay(_("The segmentation itself was not tested: {reason}").format(reason=reason))
            return
        volume = self._phantom()
        try:
            segmentation = logic.segment({"CT": volume}, model=models[0], samples=2, device="cpu")
        finally:
            logic.shutdown()
        self.assertGreater(segmentation.GetSegmentation().GetNumberOfSegments(), 0)
        self.assertIsNotNone(logic.lesionTable(segmentation))
        self.assertEqual(segmentation.GetAttribute("SegDL.Model"), models[0])
        uncertainty = logic.uncertaintyVolume(segmentation)
        if uncertainty is not None:
            self.assertTrue(np.isfinite(slicer.util.arrayFromVolume(uncertainty)).all())
        self.delayDisplay(_("A segmentation runs in its own process."))

    def _phantom(self):
        """A coarse thorax: soft tissue, two lungs and a round tumour, in HU."""
        import numpy as np

        k, j, i = np.mgrid[:40, :96, :96].astype(np.float32)

        def inside(centre, radii):
            return sum(((a - c) / r) ** 2 for a, c, r in zip((k, j, i), centre, radii, strict=True)) < 1

        array = np.full(k.shape, -1000, np.int16)
        array[inside((20, 48, 48), (60, 32, 44))] = 40
        for centre in (26, 70):
            array[inside((20, 46, centre), (18, 22, 15))] = -850
        array[inside((20, 46, 28), (3, 5, 5))] = 30
        matrix = np.diag([-4.0, -4.0, 5.0, 1.0])
        return slicer.util.addVolumeFromArray(array, matrix, "CT phantom")
