"""Slicer is left, in a script or after it, while a training runs: it is stopped and nothing stays behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.host

ROOT = Path(__file__).resolve().parents[3]
# In the place of the training: it tells its process id, and writes a checkpoint when it is asked to stop.
PROGRAM = """#!{python}
import json, os, sys
def say(**event): print(json.dumps(event), flush=True)
open("{folder}/pid", "w").write(str(os.getpid()))
say(event="progress", stage="training", fraction=0.5, eta_s=1)
if "stop" in sys.stdin.readline():
    open("{folder}/checkpoint", "w").close()
    say(event="error", code="cancelled", text="Stopped.")
    sys.exit(3)
"""
SCRIPT = """
import os, sys
import slicer, slicer.util
from SegDLTraining import SegDLTrainingLogic

folder, when = sys.argv[1:]
logic = SegDLTrainingLogic()
job = logic.train(
    folder + "/tiny.json", folder + "/model", folder, blocking=False,
    onProgress=lambda *progress: slicer.util.exit(0) if when == "later" else None,
)
while when == "in the script" and not os.path.exists(folder + "/pid"):
    logic.trainer.process.wait(50)
if when == "in the script":
    slicer.util.exit(0)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a script is no program here")
@pytest.mark.parametrize("when", ["later", "in the script"])
def test_leaving_slicer_stops_a_training(tmp_path, when):
    from host import requirements

    if requirements.qt_problem():
        pytest.skip(requirements.qt_problem())
    from tiny_cases import write_recipe

    write_recipe(tmp_path / "tiny.json")
    program, script = tmp_path / "program", tmp_path / "script.py"
    program.write_text(PROGRAM.format(python=sys.executable, folder=tmp_path), encoding="utf-8")
    program.chmod(0o755)
    script.write_text(SCRIPT, encoding="utf-8")
    words = [sys.executable, "-m", "host", "--no-main-window"]
    for module in ("SegDL", "SegDLTraining"):
        words += ["--additional-module-paths", str(ROOT / module)]
    done = subprocess.run(
        [*words, str(script), "--", str(tmp_path), when],
        env=dict(os.environ, PYTHONPATH=str(ROOT / "Testing"), SEGDL_PYTHON=str(program)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "checkpoint").is_file()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
