"""A script that trains on the scene and blocks, started without a window and even without Qt."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.host

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """
import os
import sys
import numpy as np
import slicer, slicer.util
from SegDLEngine.errors import SegDLError
from SegDLTraining import SegDLTrainingLogic
from tiny_cases import ball

folder = sys.argv[1]
for seed in range(3):
    voxels, mask = ball(seed)
    volume = slicer.util.addVolumeFromArray(voxels, np.diag([-2.0, -2.0, 3.0, 1.0]), f"CT {seed}")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segment = node.GetSegmentation().AddEmptySegment("", "Tumour")
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, segment, volume)
logic, stages = SegDLTrainingLogic(), []
try:
    os.chdir(folder)
    logic.check("tiny.json", "nowhere")
except SegDLError as error:
    print(error)
package = logic.train(
    folder + "/tiny.json", folder + "/model", scene=True,
    onProgress=lambda fraction, stage, left, event: stages.append(stage),
)
print(package, logic.curves(package).GetNumberOfRows(), sorted(set(stages)))
slicer.util.exit(0)
"""


def test_a_script_trains_on_the_scene(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("slicer")
    from tiny_cases import write_recipe

    write_recipe(tmp_path / "tiny.json")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    modules = [
        "--additional-module-paths",
        ROOT / "SegDL",
        "--additional-module-paths",
        ROOT / "SegDLTraining",
    ]
    command = [sys.executable, "-m", "host", "--no-main-window", "--no-qt", *modules, script, "--", tmp_path]
    done = subprocess.run(
        list(map(str, command)),
        env=dict(os.environ, PYTHONPATH=str(ROOT / "Testing")),
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any("nowhere' do not exist" in line for line in lines)
    stages = ["checking", "exporting", "training", "training cases", "validation cases"]
    assert f"{tmp_path / 'model'} 2 {stages}" in lines
    assert (tmp_path / "model" / "weights.safetensors").is_file()
    cases = json.loads((tmp_path / "model-data" / "cases.json").read_text())["cases"]
    assert [case["name"] for case in cases] == ["CT_0", "CT_1", "CT_2"]
