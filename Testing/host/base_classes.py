"""Stand-ins for the module ``slicer.ScriptedLoadableModule``: the classes that scripted modules derive from.

Written for the host from what modules may rely on; nothing of Slicer's own file is in here.  Qt is imported
only where a widget is made, so that module logic also works without it.
"""

from __future__ import annotations

import os
import unittest
from typing import Any

import slicer


class ScriptedLoadableModule:
    """Description of a module; ``parent`` is the application's object for it."""

    def __init__(self, parent: Any) -> None:
        self.parent = parent
        self.moduleName = type(self).__name__
        parent.title = ""
        parent.categories = []
        parent.dependencies = []
        parent.contributors = []
        parent.helpText = ""
        parent.acknowledgementText = ""

    def resourcePath(self, filename: str) -> str:
        return os.path.join(os.path.dirname(self.parent.path), "Resources", filename)

    def getDefaultModuleDocumentationLink(self, docPage: str | None = None) -> str:
        return ""


class ScriptedLoadableModuleWidget:
    """Panel of a module; builds its widgets into the layout of ``parent``."""

    def __init__(self, parent: Any = None) -> None:
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = False
        if parent is None:
            import qt

            parent = slicer.qMRMLWidget()
            parent.setLayout(qt.QVBoxLayout())
            parent.setMRMLScene(slicer.mrmlScene)
        self.parent = parent
        self.layout = parent.layout()
        slicer.app.moduleManager().connect(
            "moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded
        )

    def setup(self) -> None:
        """To be overridden: build the panel."""

    def cleanup(self) -> None:
        """To be overridden: remove observers; called before the module is unloaded or reloaded."""

    def resourcePath(self, filename: str) -> str:
        return os.path.join(os.path.dirname(slicer.util.modulePath(self.moduleName)), "Resources", filename)

    def onReload(self) -> None:
        slicer.util.reloadScriptedModule(self.moduleName)

    def _onModuleAboutToBeUnloaded(self, moduleName: str) -> None:
        if moduleName == self.moduleName:
            self.cleanup()
            slicer.app.moduleManager().disconnect(
                "moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded
            )


class ScriptedLoadableModuleLogic:
    """Functions of a module; keeps its state in parameter nodes of the scene."""

    def __init__(self, parent: Any = None) -> None:
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def resourcePath(self, filename: str) -> str:
        return os.path.join(os.path.dirname(slicer.util.modulePath(self.moduleName)), "Resources", filename)

    def createParameterNode(self) -> Any:
        """A new parameter node, not yet in the scene."""
        node = slicer.vtkMRMLScriptedModuleNode()
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        node.SetAttribute("ModuleName", self.moduleName)
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        return node

    def getParameterNode(self) -> Any:
        """The parameter node of this module in the scene; made when it does not exist yet."""
        for node in self.getAllParameterNodes():
            return node
        return slicer.mrmlScene.AddNode(self.createParameterNode())

    def getAllParameterNodes(self) -> list[Any]:
        nodes = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        return [node for node in nodes if node.GetAttribute("ModuleName") == self.moduleName]


class ScriptedLoadableModuleTest(unittest.TestCase):
    """Self test of a module: ``runTest`` runs all methods whose name contains "test"."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.messageDelay = 1000

    def delayDisplay(self, message: str, requestedDelay: int | None = None, msec: int | None = None) -> None:
        print(message, flush=True)
        slicer.app.processEvents()

    def runTest(self, msec: int = 100, **keywords: Any) -> None:
        """Run every test method of the class, each between ``setUp`` and ``tearDown``."""
        type(self).setUpClass()
        try:
            for name in sorted(dir(self)):
                inherited = name in dir(ScriptedLoadableModuleTest) or name.startswith("_")
                if "test" in name.lower() and not inherited:
                    self.setUp()
                    try:
                        getattr(self, name)()
                    finally:
                        self.tearDown()
        finally:
            type(self).tearDownClass()


CLASSES = (
    ScriptedLoadableModule,
    ScriptedLoadableModuleWidget,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
)
