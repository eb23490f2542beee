"""Which Python runs the engine: the one that is named, the one on the PATH, else the application's own."""

from __future__ import annotations

import os

import pytest

pytestmark = pytest.mark.host


@pytest.fixture
def program(tmp_path):
    """A PythonSlicer in the folder of an application's programs."""
    path = tmp_path / "bin" / ("PythonSlicer.exe" if os.name == "nt" else "PythonSlicer")
    path.parent.mkdir()
    path.write_text("")
    path.chmod(0o755)
    return path


def test_the_path_comes_before_the_application(scene, program, monkeypatch):
    import slicer
    from SegDLLib.python_command import pythonCommand

    monkeypatch.delenv("SEGDL_PYTHON", raising=False)
    assert slicer.slicerHome not in pythonCommand()[0]
    monkeypatch.setenv("PATH", str(program.parent))
    assert pythonCommand() == [str(program)]
    monkeypatch.setenv("SEGDL_PYTHON", "/opt/python")
    assert pythonCommand() == ["/opt/python"]


def test_without_the_launcher_the_application_is_asked(scene, program, monkeypatch):
    from host.application import ApplicationMembers
    from SegDLLib.python_command import pythonCommand

    monkeypatch.delenv("SEGDL_PYTHON", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    home = property(lambda _app: str(program.parents[1]))
    monkeypatch.setattr(ApplicationMembers, "slicerHome", home)
    assert pythonCommand() == [str(program)]
