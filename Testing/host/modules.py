"""Loads scripted modules as the application does: module object, instance, panel, enter, reload, unload."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import slicer

from host import application
from host.strictness import property_types


class qSlicerScriptedLoadableModule:
    """The application's object for a scripted module, ``parent`` of its module class.

    Takes the properties that Slicer's class has and refuses others.
    """

    def __init__(self, path: Path) -> None:
        vars(self)["path"] = str(path)
        vars(self)["name"] = path.stem
        vars(self)["_values"] = {
            "title": path.stem,
            "categories": [],
            "dependencies": [],
            "contributors": [],
            "associatedNodeTypes": [],
            "helpText": "",
            "acknowledgementText": "",
            "hidden": False,
            "index": -1,
        }
        vars(self)["_representation"] = None

    def __getattr__(self, name: str) -> Any:
        if name in self._values:
            return self._values[name]
        raise AttributeError(f"'{_CLASS}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        kind = property_types(_CLASS).get(name)
        if kind is None:
            raise AttributeError(f"'{name}' does not exist on {_CLASS}")
        expected = {"QString": str, "QStringList": (list, tuple), "bool": bool, "int": int}.get(kind)
        if expected and not isinstance(value, expected):
            raise AttributeError(f"property '{name}' of {_CLASS} does not accept {value!r}")
        self._values[name] = value

    def logic(self) -> Any:
        return None

    def widgetRepresentation(self) -> Any:
        """The panel's container; made, and the panel set up, at the first call."""
        if self._representation is None:
            from host.panel import qSlicerScriptedLoadableModuleWidget

            vars(self)["_representation"] = qSlicerScriptedLoadableModuleWidget.of_module(self)
        return self._representation

    def forget_representation(self) -> None:
        vars(self)["_representation"] = None


_CLASS = qSlicerScriptedLoadableModule.__name__


class LoadedModule:
    """A module in the host: what a test holds on to.

    Attributes:
        name: name of the module.
        module: the Python module that was imported.
        instance: its module class.
        panel: the container of its panel (a widget), made at the first use.
        widget: its ScriptedLoadableModuleWidget.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self.module = import_file(path)
        self._object = qSlicerScriptedLoadableModule(path)
        self.instance = getattr(self.module, self.name)(self._object)
        if not self._object.title:
            raise ValueError(f"module {self.name}: the title is empty")
        setattr(slicer.modules, self.name.lower(), self._object)
        setattr(slicer.modules, f"{self.name}Instance", self.instance)
        _tell("moduleLoaded", self.name)

    @property
    def panel(self) -> Any:
        return self._object.widgetRepresentation()

    @property
    def widget(self) -> Any:
        return self.panel.self()

    def enter(self) -> None:
        """Show the panel, as when the user switches to the module."""
        slicer.util.selectModule(self.name)

    def exit(self) -> None:
        """Leave the panel, as when the user switches to another module."""
        slicer.util.moduleSelector().leave(self.name)

    def reload(self) -> Any:
        """Read the source again, as the Reload button of the developer mode does; returns the new widget."""
        self.module = slicer.util.reloadScriptedModule(self.name)
        slicer.app.processEvents()
        return self.widget

    def unload(self) -> None:
        """Unload the module, as the application does when it ends."""
        _tell("moduleAboutToBeUnloaded", self.name)
        if self._object._representation is not None:
            self.exit()
            self._object._representation.remove()
            self._object.forget_representation()
        for name in (self.name.lower(), f"{self.name}Instance", f"{self.name}Widget"):
            if hasattr(slicer.modules, name):
                delattr(slicer.modules, name)
        sys.modules.pop(self.name, None)


def load_module(path: str | Path, *, panel: bool = True, width: int = 420, height: int = 700) -> LoadedModule:
    """Load the scripted module in the file ``path``; then the application's start counts as complete.

    Args:
        panel: also make its panel of ``width`` x ``height`` pixels, show it and enter it.

    Raises:
        ValueError: a host is not running, or ``panel`` is wanted of a host without Qt.
    """
    path = Path(path).resolve()
    if application.running() is None:
        raise ValueError("start a host first: host.start() or host.start_plain()")
    loaded = LoadedModule(path)
    slicer.app.startup_completed()
    if panel:
        if application.running().commandOptions().noMainWindow:
            raise ValueError("a host without Qt has no panels: use host.start()")
        loaded.panel.resize(width, height)
        loaded.enter()
        slicer.app.processEvents()
    return loaded


def import_file(path: Path) -> types.ModuleType:
    """Import a module file under its own name, with its folder on the path as in the application."""
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ValueError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _tell(signal: str, name: str) -> None:
    slicer.app.moduleManager().tell(signal, name)
