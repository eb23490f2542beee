"""What the machine lacks is named before Qt or VTK are touched."""

from __future__ import annotations

import subprocess
import sys

import pytest
from host import requirements


@pytest.fixture
def absent(monkeypatch):
    """Make libraries look absent."""
    names = set()
    real = requirements._loads
    monkeypatch.setattr(requirements, "_loads", lambda name: name not in names and real(name))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("VTK_DEFAULT_OPENGL_WINDOW", "")  # restored afterwards, whatever a test chooses
    return names


def test_a_missing_library_is_named_with_its_package(absent):
    absent.add("libxkbcommon.so.0")
    assert "libxkbcommon.so.0" in requirements.missing_libraries()
    assert "libxkbcommon0" in requirements.qt_problem()


def test_a_qt_that_does_not_load_is_a_problem(tmp_path, monkeypatch):
    package = tmp_path / "PySide6"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "PySide6", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert "libQt6Widgets.so.6" in requirements._load_problem()


def test_a_missing_package_is_named():
    assert requirements.missing_modules("json", "no_such_package_at_all") == ["no_such_package_at_all"]


def test_without_any_opengl_nothing_is_chosen_and_the_reason_is_given(absent):
    pytest.importorskip("vtk")
    pytest.importorskip("slicer")
    for groups in requirements.OPENGL_WINDOWS.values():
        absent.update(*groups)
    assert requirements.choose_opengl_window() == ""
    problem = requirements.graphics_problem.__wrapped__()
    assert "libOSMesa.so.8" in problem
    assert "libgl1-mesa-dri" in problem


def test_the_window_whose_libraries_load_is_chosen(absent, monkeypatch):
    monkeypatch.setattr(requirements, "_loads", lambda name: name == "libOSMesa.so.8")
    assert requirements.choose_opengl_window() == "vtkOSOpenGLRenderWindow"
    monkeypatch.setenv("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
    assert requirements.choose_opengl_window() == "vtkEGLRenderWindow"


def test_a_broken_driver_is_noticed_in_a_child_process(absent, monkeypatch):
    pytest.importorskip("vtk")
    pytest.importorskip("slicer")
    monkeypatch.setattr(requirements, "choose_opengl_window", lambda: "vtkEGLRenderWindow")
    monkeypatch.setattr(requirements, "_PROBE", "import os; os.abort()")
    assert "VTK cannot draw off screen" in requirements.graphics_problem.__wrapped__()


def test_asking_loads_neither_qt_nor_vtk():
    code = (
        "import sys; from host import requirements; requirements.qt_problem(); requirements.mrml_problem();"
        "requirements.choose_opengl_window();"
        "assert not {'PySide6', 'vtk', 'vtkmodules', 'slicer'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=str(_testing())
    )
    assert done.returncode == 0, done.stderr


def _testing():
    from pathlib import Path

    return Path(__file__).parent
