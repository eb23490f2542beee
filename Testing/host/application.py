"""``slicer.app`` as far as it needs no Qt, and the start of a host with only a scene.

:class:`ApplicationMembers` is also what the Qt application (:mod:`host.qt_application`) is built on.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import stat
import sys
from pathlib import Path
from typing import Any

import slicer
import slicer.util

from host import services
from host.io_manager import CoreIOManager
from host.mrml import MRMLWorld, modules_namespace

VERSION = (5, 12, 4)
"""Version of the wheel; 5.12.3 is the application whose behaviour the host follows."""

_running: ApplicationMembers | None = None


class CommandOptions:
    """``slicer.app.commandOptions()``: the options of the command line that modules ask for."""

    __slots__ = ("noMainWindow", "noSplash", "pythonScript", "runPythonAndExit", "testingEnabled")

    def __init__(self, *, testing: bool, main_window: bool) -> None:
        self.testingEnabled = self.runPythonAndExit = testing
        self.noMainWindow = self.noSplash = not main_window
        self.pythonScript = ""


class ProcessEnvironment:
    """``slicer.app.startupEnvironment()`` without Qt: names and values of the process environment."""

    def __init__(self) -> None:
        self._variables = dict(os.environ)

    def keys(self) -> list[str]:
        return list(self._variables)

    def value(self, name: str, default: str = "") -> str:
        return self._variables.get(name, default)

    def contains(self, name: str) -> bool:
        return name in self._variables


class ModuleFinder:
    """The part of the module manager that looks modules up."""

    def module(self, name: str) -> Any:
        """The object of a module by its name; None if there is no such module."""
        return getattr(slicer.modules, name.lower(), None)

    def modulesNames(self) -> list[str]:
        objects = [item for name, item in vars(slicer.modules).items() if not name.startswith("_")]
        return [item.name for item in objects if hasattr(item, "name") and hasattr(item, "path")]


class PlainModuleManager(ModuleFinder):
    """``slicer.app.moduleManager()`` without Qt: finds modules and calls slots about them."""

    def __init__(self) -> None:
        self._slots: dict[str, list[Any]] = {}

    def connect(self, signal: str, slot: Any) -> bool:
        self._slots.setdefault(signal.split("(")[0], []).append(slot)
        return True

    def disconnect(self, signal: str, slot: Any) -> bool:
        slots = self._slots.get(signal.split("(")[0], [])
        if slot not in slots:
            return False
        slots.remove(slot)
        return True

    def tell(self, signal: str, name: str) -> None:
        """Call the slots of "moduleLoaded" or "moduleAboutToBeUnloaded"."""
        for slot in list(self._slots.get(signal, ())):
            slot(name)


class ApplicationMembers:
    """Members of the application object that need no Qt."""

    def host_setup(self, world: MRMLWorld, options: CommandOptions) -> None:
        """Take over the scene; the constructor belongs to Qt in a subclass."""
        self._world = world
        self._options = options
        self._io_manager = CoreIOManager(world.scene)
        self._exit_code: int | None = None

    @property
    def temporaryPath(self) -> str:
        return self._world.temporary_folder

    @property
    def slicerHome(self) -> str:
        return os.path.dirname(slicer.__file__)

    @property
    def majorVersion(self) -> int:
        return VERSION[0]

    @property
    def minorVersion(self) -> int:
        return VERSION[1]

    @property
    def mainApplicationName(self) -> str:
        return "Slicer"

    def mrmlScene(self) -> Any:
        return self._world.scene

    def applicationLogic(self) -> Any:
        return self._world.application_logic

    def moduleLogic(self, moduleName: str) -> Any:
        return self._world.module_logic(moduleName)

    def coreIOManager(self) -> CoreIOManager:
        return self._io_manager

    def ioManager(self) -> CoreIOManager:
        return self._io_manager

    def commandOptions(self) -> CommandOptions:
        return self._options

    def testingEnabled(self) -> bool:
        return self._options.testingEnabled

    def pauseRender(self) -> None:
        """Nothing is drawn unasked here."""

    def resumeRender(self) -> None:
        """See :meth:`pauseRender`."""


class PlainApplication(ApplicationMembers):
    """``slicer.app`` of a host without Qt, as for a script run with ``--no-main-window``."""

    applicationName = "Slicer"
    applicationVersion = ".".join(str(part) for part in VERSION)

    def __init__(self, world: MRMLWorld, options: CommandOptions) -> None:
        self.host_setup(world, options)
        self._module_manager = PlainModuleManager()
        self._startup_slots: list[Any] = []

    def moduleManager(self) -> PlainModuleManager:
        return self._module_manager

    def layoutManager(self) -> None:
        """None, as in an application without a main window."""

    def startupEnvironment(self) -> ProcessEnvironment:
        return ProcessEnvironment()

    def connect(self, signal: str, slot: Any) -> bool:
        """Only ``startupCompleted()`` is ever emitted here."""
        if signal.replace(" ", "") != "startupCompleted()":
            raise ValueError(f"the host without Qt never emits {signal}")
        self._startup_slots.append(slot)
        return True

    def startup_completed(self) -> None:
        """Call the slots of ``startupCompleted()``, each once."""
        slots, self._startup_slots = self._startup_slots, []
        for slot in slots:
            slot()

    def processEvents(self, *_flags: Any) -> None:
        """There are no events."""

    def setOverrideCursor(self, *_cursor: Any) -> None:
        """There is no cursor."""

    def restoreOverrideCursor(self) -> None:
        """There is no cursor."""

    def topLevelWidgets(self) -> list[Any]:
        return []

    def exit(self, code: int = 0) -> None:
        """Note the exit code; the running script goes on, as in Slicer."""
        self._exit_code = int(code)

    quit = exit

    def exit_code(self) -> int | None:
        """The code given to :meth:`exit`, None before that."""
        return self._exit_code


def start_plain(*, testing: bool = True) -> PlainApplication:
    """Start a host with a scene and without Qt: ``slicer.app``, ``slicer.mrmlScene``, ``slicer.modules``.

    The second call in a process returns the first host.
    """
    if _running is None:
        register(PlainApplication(MRMLWorld(), CommandOptions(testing=testing, main_window=False)))
    assert isinstance(_running, PlainApplication)
    return _running


def running() -> ApplicationMembers | None:
    """The application of this process, if a host was started."""
    return _running


def register(app: ApplicationMembers) -> None:
    """Give the package ``slicer`` the attributes that it has in the application."""
    global _running
    _running = app
    slicer.app = app
    slicer.mrmlScene = app.mrmlScene()
    slicer.modules = sys.modules["slicer.modules"] = modules_namespace(app._world)
    slicer.slicer_home = slicer.slicerHome = os.path.dirname(slicer.__file__)
    services.install()
    provide_python_launcher(Path(app.temporaryPath))
    atexit.register(shutil.rmtree, app.temporaryPath, ignore_errors=True)
    logging.getLogger().setLevel(min(logging.getLogger().level or logging.INFO, logging.INFO))


def provide_python_launcher(parent: Path) -> str:
    """Put an executable ``PythonSlicer``, which runs this interpreter, on the PATH; returns its path."""
    folder = parent / "bin"
    folder.mkdir()
    if os.name == "nt":
        launcher = folder / "PythonSlicer.bat"
        launcher.write_text(f'@"{sys.executable}" %*\n', encoding="utf-8")
    else:
        launcher = folder / "PythonSlicer"
        launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
        launcher.chmod(launcher.stat().st_mode | stat.S_IXUSR)
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ.get('PATH', '')}"
    return str(launcher)
