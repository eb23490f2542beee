"""The batch script as it is started: a process without a window; files in, files out."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.host

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "SegDL" / "Resources" / "Scripts" / "segdl_batch.py"
MODEL = "tiny-tumor"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    pytest.importorskip("torch")
    pytest.importorskip("slicer")
    from tiny_model import write_tiny_package

    folder = tmp_path_factory.mktemp("models")
    write_tiny_package(folder / MODEL)
    return folder


@pytest.fixture
def cases(tmp_path):
    """A table with a good case and one whose file is missing."""
    writeImage(tmp_path / "good.nrrd")
    table = tmp_path / "cases.csv"
    table.write_text("case,CT\nfirst,good.nrrd\nlost,nowhere.nrrd\n", encoding="utf-8")
    return table


def writeImage(path: Path):
    from SegDLEngine.images.grid import Grid
    from SegDLEngine.images.image import Image
    from SegDLEngine.images.writing import write_image

    k, j, i = np.mgrid[:12, :32, :32]
    voxels = np.full(k.shape, -1000, np.int16)
    voxels[((k - 6) / 7) ** 2 + ((j - 16) / 12) ** 2 + ((i - 16) / 14) ** 2 < 1] = 30
    turn = np.deg2rad(20.0)
    axes = (np.cos(turn), -np.sin(turn), 0.0, np.sin(turn), np.cos(turn), 0.0, 0.0, 0.0, 1.0)
    write_image(Image(voxels, Grid((32, 32, 12), (3.0, 3.0, 5.0), (10.0, -40.0, 700.0), axes)), path)


def runScript(models, *arguments, host=("--no-qt",)):
    environment = dict(os.environ, SEGDL_MODELS=str(models), PYTHONPATH=str(ROOT / "Testing"))
    command = [sys.executable, "-m", "host", *host, str(SCRIPT), "--", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)


def test_a_table_of_cases_with_a_bad_one(models, cases, tmp_path):
    from SegDLEngine.images.reading import read_image
    from SegDLEngine.images.segmentation_file import read_segmentation

    output = tmp_path / "results"
    done = runScript(
        models, "--model", MODEL, "--cases", cases, "--output", output, "--samples", 2, "--scene"
    )

    assert done.returncode == 1, done.stdout + done.stderr
    assert "lost: failed:" in done.stdout
    assert "nowhere.nrrd" in done.stdout
    assert "1 of 2 cases done" in done.stdout
    assert {path.name for path in output.iterdir()} == {
        "first.seg.nrrd",
        "first-uncertainty.nrrd",
        "first-lesions.csv",
        "first.mrb",
    }
    segmentation = read_segmentation(output / "first.seg.nrrd")
    with (output / "first-lesions.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert sum(int(row["voxels"]) for row in rows) == (segmentation.labels.array > 0).sum() > 0
    uncertainty = read_image(output / "first-uncertainty.nrrd")
    image = read_image(tmp_path / "good.nrrd")
    assert uncertainty.array.dtype == np.float32
    assert uncertainty.grid.matches(image.grid)

    written = (output / "first.seg.nrrd").stat().st_mtime_ns
    again = runScript(models, "--model", MODEL, "--cases", cases, "--output", output)
    assert "first: done before" in again.stdout
    assert (output / "first.seg.nrrd").stat().st_mtime_ns == written


def test_a_single_case_inside_qt_uses_the_worker(models, tmp_path):
    from host import requirements

    if requirements.qt_problem():
        pytest.skip(requirements.qt_problem())
    writeImage(tmp_path / "scan.nrrd")
    output = tmp_path / "results"
    done = runScript(
        models,
        "--model",
        MODEL,
        "--input",
        f"CT={tmp_path / 'scan.nrrd'}",
        "--output",
        output,
        "--samples",
        0,
        host=(),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name for path in output.iterdir()} == {"scan.seg.nrrd", "scan-lesions.csv"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--output", "x"], "--cases"),
        (["--cases", "nowhere.csv", "--output", "x", "--model", MODEL], "nowhere.csv"),
        (["--input", "CT=a.nrrd", "--output", "x", "--model", "unheard-of"], "no model 'unheard-of'"),
        (["--input", "ct.nrrd", "--output", "x", "--model", MODEL], "NAME=PATH"),
    ],
)
def test_wrong_usage_is_exit_code_2(models, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    done = runScript(models, *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
