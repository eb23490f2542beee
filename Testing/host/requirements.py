"""What the host needs from the system: shared libraries for Qt and an OpenGL that draws without a display.

Qt and VTK load these libraries at run time, and VTK ends the whole process when an OpenGL driver turns out
to be broken.  So nothing here imports Qt or VTK: libraries are looked up with the dynamic loader, and the
driver is tried once in a child process.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import subprocess
import sys

QT_LIBRARIES = {
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libfontconfig.so.1": "libfontconfig1",
    "libdbus-1.so.3": "libdbus-1-3",
    "libglib-2.0.so.0": "libglib2.0-0",
}
"""Shared libraries that PySide6 links, with the Debian package of each."""

OPENGL_WINDOWS = {
    "vtkEGLRenderWindow": (("libEGL.so.1",), ("libEGL_mesa.so.0", "libEGL_nvidia.so.0")),
    "vtkOSOpenGLRenderWindow": (("libOSMesa.so.8", "libOSMesa.so"),),
}
"""VTK's off-screen windows in order of preference; of each group of libraries one must load."""

_PROBE = (
    "import vtk\n"
    "window = vtk.vtkRenderWindow()\n"
    "window.SetOffScreenRendering(1)\n"
    "window.SetSize(16, 16)\n"
    "window.AddRenderer(vtk.vtkRenderer())\n"
    "window.Render()\n"
    "print('OpenGL', bool(window.SupportsOpenGL()))\n"
)


def missing_libraries() -> list[str]:
    """Sonames of the libraries for Qt that the dynamic loader cannot find; empty outside Linux."""
    if not sys.platform.startswith("linux"):
        return []
    return [name for name in QT_LIBRARIES if not _loads(name)]


def missing_modules(*names: str) -> list[str]:
    """The Python packages among ``names`` that are not installed."""
    return [name for name in names if importlib.util.find_spec(name) is None]


def qt_problem() -> str:
    """Why the panel cannot be hosted on this machine, as one sentence; empty when it can."""
    modules = missing_modules("slicer", "PySide6")
    if modules:
        return f"Python packages are missing: {', '.join(modules)}"
    libraries = missing_libraries()
    if libraries:
        packages = ", ".join(QT_LIBRARIES[name] for name in libraries)
        return f"Qt needs {', '.join(libraries)} (Debian packages: {packages})"
    return _load_problem()


def _load_problem() -> str:
    """What the dynamic loader says to Qt's libraries and the off-screen platform; empty when they load."""
    spec = importlib.util.find_spec("PySide6")
    folders = spec.submodule_search_locations if spec and sys.platform.startswith("linux") else None
    for folder in folders or ():
        for name in ("lib/libQt6Widgets.so.6", "plugins/platforms/libqoffscreen.so"):
            try:
                ctypes.CDLL(os.path.join(folder, "Qt", name))
            except OSError as error:
                return f"Qt cannot be loaded: {error}"
    return ""


def mrml_problem() -> str:
    """Why a scene cannot be hosted on this machine, as one sentence; empty when it can."""
    modules = missing_modules("slicer", "vtk")
    return f"Python packages are missing: {', '.join(modules)}" if modules else ""


@functools.cache
def graphics_problem() -> str:
    """Why slice and 3D views cannot be drawn off screen, as one sentence; empty when they can.

    Chooses VTK's off-screen window on the way (environment variable ``VTK_DEFAULT_OPENGL_WINDOW``), so call
    it before the first render window is made.  A child process draws one frame: about two seconds.
    """
    problem = mrml_problem()
    if problem:
        return problem
    if not choose_opengl_window():
        wanted = " or ".join(
            " with ".join(names[0] for names in groups) for groups in OPENGL_WINDOWS.values()
        )
        return f"VTK needs {wanted} (Debian packages: libegl1 with libgl1-mesa-dri, or libosmesa6)"
    try:
        tried = subprocess.run(
            [sys.executable, "-c", _PROBE], check=False, capture_output=True, text=True, timeout=120
        )
    except subprocess.TimeoutExpired:
        return "a frame drawn off screen by VTK did not finish within 120 s"
    if "OpenGL True" in tried.stdout:
        return ""
    lines = (tried.stderr or tried.stdout).strip().splitlines()
    return f"VTK cannot draw off screen: {lines[-1] if lines else f'exit code {tried.returncode}'}"


def graphics_available() -> bool:
    """True when slice and 3D views can be drawn off screen; :func:`graphics_problem` says why not."""
    return not graphics_problem()


def choose_opengl_window() -> str:
    """Set ``VTK_DEFAULT_OPENGL_WINDOW`` to a window whose libraries load; '' if there is none.

    A choice made by the user, and other systems than Linux, are left as they are.
    """
    chosen = os.environ.get("VTK_DEFAULT_OPENGL_WINDOW", "")
    if chosen:
        return chosen
    if not sys.platform.startswith("linux"):
        return "the platform's own window"
    for window, groups in OPENGL_WINDOWS.items():
        if all(any(_loads(name) for name in names) for names in groups):
            os.environ["VTK_DEFAULT_OPENGL_WINDOW"] = window
            return window
    return ""


def _loads(soname: str) -> bool:
    try:
        ctypes.CDLL(soname)
    except OSError:
        return False
    return True
