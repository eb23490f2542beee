"""``slicer.app`` as a Qt application, the modules ``qt`` and ``ctk``, and the start of a host with panels."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import PySide6
import slicer
from PySide6 import QtCore, QtWidgets

from host import application, faces, pythonqt, singletons
from host.application import ApplicationMembers, CommandOptions, ModuleFinder
from host.layout import qSlicerLayoutManager
from host.main_window import qSlicerMainWindow
from host.modules import LoadedModule, qSlicerScriptedLoadableModule
from host.mrml import MRMLWorld
from host.panel import qSlicerScriptedLoadableModuleWidget  # noqa: F401  (registers itself)
from host.strictness import warn
from host.ui_loader import UiLoader
from host.widgets import REGISTRY
from host.widgets.base import StandInWidget

BUILT_IN = Path(__file__).parent / "built_in"
"""Stand-ins for modules of Slicer, loaded like any other."""


class qSlicerModuleManager(ModuleFinder, StandInWidget, QtCore.QObject):
    """``slicer.app.moduleManager()``."""

    EMITS = frozenset({"moduleLoaded(QString)", "moduleAboutToBeUnloaded(QString)"})

    def tell(self, signal: str, name: str) -> None:
        """Emit "moduleLoaded" or "moduleAboutToBeUnloaded"."""
        self.emit_signal(f"{signal}(QString)", name)


class qSlicerApplication(ApplicationMembers, StandInWidget, QtWidgets.QApplication):
    """The application object; its members are those of the headers of Slicer's class and of Qt's."""

    EMITS = frozenset({"startupCompleted()"})

    def host_setup(self, world: MRMLWorld, options: CommandOptions) -> None:
        super().host_setup(world, options)
        self._module_manager = qSlicerModuleManager(self)
        self._layout_manager: Any = None
        self.setApplicationName("Slicer")
        self.setApplicationVersion(".".join(str(part) for part in application.VERSION))
        self.setOrganizationName("Slicer-host")
        self.setQuitOnLastWindowClosed(False)
        QtCore.QSettings.setDefaultFormat(QtCore.QSettings.Format.IniFormat)
        QtCore.QSettings.setPath(
            QtCore.QSettings.Format.IniFormat, QtCore.QSettings.Scope.UserScope, self.temporaryPath
        )

    def host_open_main_window(self) -> None:
        """What an application with a main window has besides: layout, module choice, built-in panels."""
        self._layout_manager = qSlicerLayoutManager(self)
        self._main_window = qSlicerMainWindow()
        for path in sorted(BUILT_IN.glob("*.py")):
            LoadedModule(path)

    def moduleManager(self) -> qSlicerModuleManager:
        return self._module_manager

    def layoutManager(self) -> Any:
        return self._layout_manager

    def settings(self) -> QtCore.QSettings:
        return QtCore.QSettings()

    def userSettings(self) -> QtCore.QSettings:
        return QtCore.QSettings()

    def startupEnvironment(self) -> QtCore.QProcessEnvironment:
        return QtCore.QProcessEnvironment.systemEnvironment()

    def startup_completed(self) -> None:
        """Emit ``startupCompleted()``, to each slot once: later modules connect their own."""
        self.emit_signal("startupCompleted()")
        self.signal_slots().pop("startupCompleted()", None)

    def exit(self, code: int = 0) -> None:
        """Note the exit code and end the event loop; the running script goes on."""
        self._exit_code = int(code)
        QtWidgets.QApplication.exit(int(code))

    def exit_code(self) -> int | None:
        return self._exit_code


def start(*, testing: bool = True, main_window: bool = True) -> qSlicerApplication:
    """Start a host with Qt: ``qt``, ``ctk`` and ``slicer`` behave as module code expects.

    The second call in a process returns the first host.

    Args:
        testing: what ``slicer.app.testingEnabled()`` says; without it Slicer's dialogs wait for a click.
        main_window: there are panels; False for scripts run with ``--no-main-window``.
    """
    running = application.running()
    if isinstance(running, qSlicerApplication):
        return running
    if running is not None:
        raise RuntimeError("a host without Qt is running in this process already")
    singletons.protect(PySide6.__version_info__)
    pythonqt.install()
    _forward_messages()
    provide_namespaces()
    app = qSlicerApplication(["Slicer"])
    app.host_setup(MRMLWorld(), CommandOptions(testing=testing, main_window=main_window))
    application.register(app)
    _record_exceptions()
    if main_window:
        app.host_open_main_window()
    return app


def provide_namespaces() -> None:
    """Make ``import qt`` and ``import ctk`` work, and add the widgets to ``slicer``."""
    classes = {**pythonqt.qt_classes(), "QUiLoader": UiLoader}
    sys.modules["qt"] = faces.Namespace("qt", classes)
    sys.modules["ctk"] = faces.Namespace("ctk", REGISTRY)
    slicer_classes = [cls for name, cls in REGISTRY.items() if not name.startswith("ctk")]
    for cls in (*slicer_classes, qSlicerScriptedLoadableModule):
        setattr(slicer, cls.__name__, faces.qt_class(cls))


def _forward_messages() -> None:
    """Print what Qt has to say, except that the off-screen platform has no window manager."""

    def handler(_kind: Any, _context: Any, message: str) -> None:
        if "does not support propagateSizeHints" not in message:
            print(f"Qt: {message}", file=sys.stderr)

    QtCore.qInstallMessageHandler(handler)


def _record_exceptions() -> None:
    """Record exceptions that end in an event or an observer of VTK, which only print them."""
    previous = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        warn(f"uncaught {kind.__name__}: {error}")
        previous(kind, error, trace)

    sys.excepthook = hook
