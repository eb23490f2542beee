"""``python -m host script.py``: exit codes, arguments and modules, with Qt and without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from host import requirements
from toy_module import write_toy_module

pytestmark = pytest.mark.host

TESTING = Path(__file__).parent

needs_mrml = pytest.mark.skipif(bool(requirements.mrml_problem()), reason=requirements.mrml_problem() or "")
needs_qt = pytest.mark.skipif(bool(requirements.qt_problem()), reason=requirements.qt_problem() or "")

BATCH = """
import sys
import numpy as np
import slicer
import slicer.util

volume = slicer.util.addVolumeFromArray(np.full((3, 4, 5), 7, np.int16), name="CT")
slicer.util.saveNode(volume, sys.argv[1])
print("qt loaded:", "PySide6" in sys.modules, "layout:", slicer.app.layoutManager())
slicer.util.exit(0)
"""


def run_host(*words, cwd, **variables):
    environment = {**os.environ, "PYTHONPATH": str(TESTING), **variables}
    return subprocess.run(
        [sys.executable, "-m", "host", *map(str, words)],
        cwd=cwd,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


def script(tmp_path, source):
    path = tmp_path / "script.py"
    path.write_text(source, encoding="utf-8")
    return path


@needs_mrml
def test_a_batch_script_needs_no_qt(tmp_path):
    """PySide6 is made impossible to import: the scene, its files and the exit code work nevertheless."""
    blocked = tmp_path / "blocked" / "PySide6"
    blocked.mkdir(parents=True)
    (blocked / "__init__.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    path = script(tmp_path, BATCH)
    both = f"{TESTING}{os.pathsep}{blocked.parent}"
    words = ["--no-qt", "--no-main-window", "--python-script", path, "--", tmp_path / "ct.nrrd"]
    done = run_host(*words, cwd=tmp_path, PYTHONPATH=both)
    assert done.returncode == 0, done.stderr
    assert "qt loaded: False layout: None" in done.stdout
    assert (tmp_path / "ct.nrrd").is_file()


@needs_mrml
def test_the_executable_is_the_launcher(tmp_path):
    source = "import os, sys; assert os.path.basename(sys.executable).startswith('PythonSlicer'); sys.exit(4)"
    assert run_host("--no-qt", script(tmp_path, source), cwd=tmp_path).returncode == 4


@needs_qt
def test_with_qt_there_are_processes_and_timers_but_no_windows(tmp_path):
    source = (
        "import qt, slicer, slicer.util\n"
        "assert slicer.util.mainWindow() is None and slicer.app.layoutManager() is None\n"
        "qt.QTimer.singleShot(1, lambda: slicer.util.exit(9))\n"
    )
    assert run_host(script(tmp_path, source), cwd=tmp_path).returncode == 9


@needs_mrml
@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("import slicer.util; slicer.util.exit(5)", 5),
        ("import slicer.util; slicer.util.exit(5); slicer.util.exit(6)", 6),
        ("import sys; sys.exit(7)", 7),
        ("import sys; sys.exit('no input')", 1),
        ("raise ValueError('broken')", 1),
        ("import sys; assert sys.argv[1:] == ['a', '--b', 'c d']; sys.exit(3)", 3),
    ],
)
def test_exit_codes(tmp_path, source, code):
    done = run_host("--no-qt", script(tmp_path, source), "--", "a", "--b", "c d", cwd=tmp_path)
    assert done.returncode == code, done.stderr


@needs_mrml
def test_a_script_that_just_ends_gives_zero_when_testing(tmp_path):
    assert run_host("--testing", "--no-qt", script(tmp_path, "print('end')"), cwd=tmp_path).returncode == 0


@needs_mrml
def test_modules_are_loaded_without_panels(tmp_path):
    write_toy_module(tmp_path)
    source = (
        "import numpy as np, slicer, slicer.util\n"
        "from Toy import ToyLogic\n"
        "assert slicer.modules.toy.title == 'Toy'\n"
        "volume = slicer.util.addVolumeFromArray(np.arange(24, dtype=np.int16).reshape(2, 3, 4))\n"
        "slicer.util.exit(10 + ToyLogic().segment(volume, 19.5)[1])\n"
    )
    if requirements.qt_problem():
        pytest.skip(requirements.qt_problem())  # the toy module imports qt
    done = run_host("--additional-module-paths", tmp_path / "Toy", script(tmp_path, source), cwd=tmp_path)
    assert done.returncode == 14, done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the script is missing"),
        (["--no-such-option", "x.py"], "--no-such-option is not understood"),
        (["absent.py"], "absent.py is not a file"),
        (["--additional-module-paths", "absent", __file__], "absent is not a folder"),
        (["--python-script"], "--python-script needs a value"),
    ],
)
def test_a_wrong_command_line_gives_two(capsys, words, message):
    from host.script import main

    assert main(words) == 2
    assert message in capsys.readouterr().err
