"""The command segdl: rows, outputs, exit codes, and one readable line for every kind of bad input."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import SegDLEngine
import SimpleITK
from SegDLEngine.command_line.main import SUBCOMMANDS, main
from SegDLEngine.command_line.segment import parse_inputs, parse_roi
from SegDLEngine.command_line.terminal import TerminalProgress, bar_line, duration
from SegDLEngine.errors import InputError
from SegDLEngine.images.reading import read_image, read_labels
from SegDLEngine.protocol import EVENTS, decode
from tiny_case import GRID, tiny_ct, write_tiny_ct
from tiny_model import tiny_card, write_tiny_package

ENGINE = Path(SegDLEngine.__file__).parent
REPOSITORY = ENGINE.parents[1]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a package 'tiny' and an image 'ct.nrrd'."""
    folder = tmp_path_factory.mktemp("files")
    write_tiny_package(folder / "tiny")
    write_tiny_ct(folder / "ct.nrrd")
    return folder


@pytest.fixture(autouse=True)
def own_models_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGDL_MODELS", str(tmp_path / "models"))


def environment():
    return {**os.environ, "PYTHONPATH": str(ENGINE.parent)}


def segdl(*arguments):
    """Run segdl in a process of its own."""
    command = [sys.executable, "-m", "SegDLEngine", *map(str, arguments)]
    return subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=120, check=False
    )


def segment_arguments(files, output, *more, ct=None, model=None):
    return [
        "segment",
        *("--model", str(model or files / "tiny")),
        *("--input", f"CT={ct or files / 'ct.nrrd'}"),
        *("--output", str(output), "--precision", "fp32"),
        *map(str, more),
    ]


def error_line(capsys):
    """The one line on stderr of a failed command that printed nothing else."""
    told = capsys.readouterr()
    lines = [line for line in told.err.splitlines() if line.startswith("segdl: error: ")]
    assert len(lines) == 1, told.err
    assert "Traceback" not in told.err
    return lines[0]


def test_models_list_in_a_process_gives_the_rows_without_loading_torch():
    code = (
        "import sys; from SegDLEngine.command_line.main import main;"
        "code = main(['models', 'list', '--json']);"
        "print(sorted({'torch', 'SimpleITK', 'slicer', 'vtk', 'qt'} & set(sys.modules)), file=sys.stderr);"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.strip()) == (0, "[]")
    rows = json.loads(done.stdout)
    assert "lung-tumor-unet2d-report" in [row["id"] for row in rows]
    for row in rows:
        assert list(row) == ["id", "title", "inputs", "labels", "installed", "licence"]


def test_networks_rows(capsys):
    assert main(["networks", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"name", "options", "trainable", "static", "input"} == set(rows[0])
    assert 31_031_685 in [row["trainable"] for row in rows if row["name"] == "lung_unet2d"]
    assert main(["networks"]) == 0
    assert "31,031,685" in capsys.readouterr().out


def test_models_install_show_verify_remove(files, capsys):
    assert main(["models", "install", str(files / "tiny"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["installed"] is True
    for command in (["show", "tiny-tumor"], ["verify", "tiny-tumor"], ["list"]):
        assert main(["models", *command]) == 0
        assert "tiny-tumor" in capsys.readouterr().out
    assert main(["models", "show", "tiny-tumor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == "tiny-tumor"
    assert main(["models", "remove", "tiny-tumor"]) == 0
    assert main(["models", "verify", "tiny-tumor"]) == 2


def test_segment_in_a_process_writes_everything_asked_for(files, tmp_path):
    names = {"uncertainty": "u.nrrd", "entropy": "e.nii.gz", "mean": "m.mha", "lesions": "l.csv"}
    names["mutual-information"] = "mi.nrrd"
    wanted = [text for name, file in names.items() for text in (f"--{name}", tmp_path / "new" / file)]
    arguments = segment_arguments(
        files,
        tmp_path / "new" / "tumor.seg.nrrd",
        *wanted,
        "--samples",
        2,
        "--report",
        tmp_path / "new" / "r.json",
    )
    done = segdl(*arguments)
    assert done.returncode == 0, done.stderr
    assert "not for clinical use" in done.stdout
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(
        ["tumor.seg.nrrd", "r.json", *names.values()]
    )
    report = json.loads((tmp_path / "new" / "r.json").read_text())
    jsonschema.validate(report, json.loads((ENGINE / "report.schema.json").read_text()))
    assert report["provenance"]["samples"] == 2
    assert report["card"]["id"] == "tiny-tumor"
    labels = read_labels(tmp_path / "new" / "tumor.seg.nrrd")
    assert labels.grid.matches(GRID)
    assert report["labels"][0]["voxels"] == np.count_nonzero(labels.array) > 0
    rows = list(csv.DictReader((tmp_path / "new" / "l.csv").open()))
    assert sum(int(row["voxels"]) for row in rows) == report["labels"][0]["voxels"]
    for name in ("u.nrrd", "e.nii.gz", "m.mha"):
        image = read_image(tmp_path / "new" / name)
        assert image.grid.matches(GRID)
        assert image.array.dtype == np.float32


@pytest.mark.parametrize("extension", [".nrrd", ".nii.gz", ".mha"])
def test_labelmaps_of_every_format_hold_the_same_voxels(files, tmp_path, capsys, extension):
    assert main(segment_arguments(files, tmp_path / f"a{extension}", "--progress", "none")) == 0
    assert main(segment_arguments(files, tmp_path / "a.seg.nrrd", "--progress", "none")) == 0
    first, second = read_labels(tmp_path / f"a{extension}"), read_labels(tmp_path / "a.seg.nrrd")
    assert np.array_equal(first.array, second.array)
    assert first.grid.matches(second.grid)


def test_json_progress_is_the_protocol_and_nothing_else(files, tmp_path, capsys):
    assert main(segment_arguments(files, tmp_path / "a.nrrd", "--progress", "json")) == 0
    events = [decode(line) for line in capsys.readouterr().out.splitlines()]
    assert {event["event"] for event in events} <= set(EVENTS)
    assert all(event["protocol"] == 1 for event in events)
    fractions = [event["fraction"] for event in events if event["event"] == "progress"]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert events[-1]["event"] == "result"
    assert events[-1]["files"] == {"segmentation": str(tmp_path / "a.nrrd")}


def test_json_errors_are_events(files, tmp_path, capsys):
    code = main(
        segment_arguments(files, tmp_path / "a.nrrd", "--progress", "json", ct=tmp_path / "none.nrrd")
    )
    told = capsys.readouterr()
    assert (code, told.err) == (2, "")
    assert decode(told.out.splitlines()[-1])["event"] == "error"


def write_with_sitk(path, array, vector=False):
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array, isVector=vector), str(path))
    return path


def bad_image(kind, folder):
    ct = tiny_ct().array
    path = folder / f"{kind}.nrrd"
    if kind == "missing":
        return path
    if kind == "no bytes":
        path.write_bytes(b"")
    elif kind == "corrupt":
        path.write_bytes(os.urandom(2000))
    elif kind == "truncated":
        whole = write_tiny_ct(path).read_bytes()
        path.write_bytes(whole[: len(whole) - 40])
    elif kind == "truncated nifti":
        path = write_tiny_ct(folder / "cut.nii.gz")
        path.write_bytes(path.read_bytes()[:-40])
    elif kind == "2D":
        write_with_sitk(path, ct[2])
    elif kind == "RGB":
        write_with_sitk(path, np.stack([ct, ct, ct], axis=-1), vector=True)
    elif kind == "4D":
        path = folder / "four.nii.gz"
        frames = [SimpleITK.GetImageFromArray(ct), SimpleITK.GetImageFromArray(ct)]
        SimpleITK.WriteImage(SimpleITK.JoinSeries(frames), str(path))
    elif kind == "NaN":
        write_with_sitk(path, np.where(ct > 0, np.nan, ct.astype(np.float32)).astype(np.float32))
    elif kind == "constant":
        write_with_sitk(path, np.full_like(ct, 7))
    elif kind == "wrong unit":
        write_with_sitk(path, ((ct + 1000) / 2000.0).astype(np.float32))
    elif kind == "empty folder":
        path = folder / "empty folder"
        path.mkdir()
    elif kind == "text":
        path = folder / "notes.txt"
        path.write_text("no image")
    return path


@pytest.mark.parametrize(
    "kind",
    [
        "missing",
        "no bytes",
        "corrupt",
        "truncated",
        "truncated nifti",
        "2D",
        "RGB",
        "4D",
        "NaN",
        "constant",
        "wrong unit",
        "empty folder",
        "text",
    ],
)
def test_a_bad_image_is_one_readable_line_and_leaves_nothing(files, tmp_path, capsys, kind):
    path = bad_image(kind, tmp_path)
    before = sorted(tmp_path.iterdir())
    assert main(segment_arguments(files, tmp_path / "out" / "a.nrrd", "--progress", "none", ct=path)) == 2
    assert path.name in error_line(capsys)
    assert sorted(tmp_path.iterdir()) == before


def test_a_truncated_image_in_a_process(files, tmp_path):
    path = bad_image("truncated", tmp_path)
    done = segdl(*segment_arguments(files, tmp_path / "a.nrrd", "--progress", "none", ct=path))
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "truncated.nrrd" in done.stderr


@pytest.mark.parametrize("fault", ["weights", "card", "no card", "no weights", "missing"])
def test_a_broken_package_is_one_readable_line(files, tmp_path, capsys, fault):
    folder = write_tiny_package(tmp_path / "broken")
    if fault == "weights":
        (folder / "weights.safetensors").write_bytes(b"x" * 100)
    elif fault == "card":
        (folder / "model.json").write_text(json.dumps(tiny_card(labels="none")))
    elif fault == "no card":
        (folder / "model.json").unlink()
    elif fault == "no weights":
        (folder / "weights.safetensors").unlink()
    else:
        folder = tmp_path / "nowhere"
    assert main(segment_arguments(files, tmp_path / "a.nrrd", "--progress", "none", model=folder)) == 2
    error_line(capsys)
    assert not (tmp_path / "a.nrrd").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (["--input", "PET=x.nrrd"], "PET=x.nrrd"),
        (["--samples", "-1"], "samples"),
        (["--samples", "x"], "--samples"),
        (["--device", "cuda:99"], "cuda:99"),
        (["--device", "abacus"], "abacus"),
        (["--threshold", "2"], "threshold"),
        (["--roi", "1,2,3"], "--roi"),
        (["--roi", "900,900,900,910,910,910"], "region"),
        (["--report", "report.txt"], "report.txt"),
        (["--uncertainty", "u.nrrd", "--samples", "0"], "--samples"),
        (["--mean", "none/none/m.nrrd"], "none/none"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_a_wrong_option_is_named(files, tmp_path, capsys, monkeypatch, change, told):
    monkeypatch.chdir(tmp_path)
    assert main(segment_arguments(files, tmp_path / "a.nrrd", "--progress", "none", *change)) == 2
    assert told in error_line(capsys)
    assert not any(tmp_path.glob("*.nrrd"))


def test_a_missing_channel_is_named(tmp_path, files, capsys):
    inputs = [
        *tiny_card()["inputs"],
        {"name": "PET", "modality": "PT", "unit": "SUV", "required": True},
    ]
    network = {"name": "lung_unet2d", "options": {"filters": 2, "depth": 3, "in_channels": 2}}
    folder = write_tiny_package(tmp_path / "two", inputs=inputs, network=network)
    assert main(segment_arguments(files, tmp_path / "a.nrrd", "--progress", "none", model=folder)) == 2
    assert "PET" in error_line(capsys)


def test_an_output_that_is_the_input_is_refused(files, tmp_path, capsys):
    ct = write_tiny_ct(tmp_path / "ct.nrrd")
    content = ct.read_bytes()
    assert main(segment_arguments(files, ct, "--progress", "none", ct=ct)) == 2
    assert "is an input" in error_line(capsys)
    assert ct.read_bytes() == content


def test_usage_errors_and_help(capsys):
    assert main([]) == 2
    assert main(["nonsense"]) == 2
    assert main(["models"]) == 2
    capsys.readouterr()
    for name in SUBCOMMANDS:
        assert main([name, "--help"]) == 0
    assert main(["--version"]) == 0
    assert SegDLEngine.__version__ in capsys.readouterr().out


def test_an_unexpected_error_is_one_line_and_a_traceback_only_with_debug(
    files, tmp_path, capsys, monkeypatch
):
    import SegDLEngine.pipeline

    def fail(*arguments):
        raise ZeroDivisionError("a bug\nin two lines")

    monkeypatch.setattr(SegDLEngine.pipeline, "segment", fail)
    arguments = segment_arguments(files, tmp_path / "a.nrrd", "--progress", "none")
    assert main(arguments) == 1
    assert "ZeroDivisionError: a bug in two lines" in error_line(capsys)
    assert main([*arguments, "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_missing_package_is_named(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "SegDLEngine.pipeline", None)
    assert main(segment_arguments(files, tmp_path / "a.nrrd", "--progress", "none")) == 1
    assert "is missing" in error_line(capsys)


def test_a_region_restricts_the_result(files, tmp_path, capsys):
    assert main(segment_arguments(files, tmp_path / "a.nrrd", "--progress", "none")) == 0
    roi = "--roi=-30,-30,100,0,30,106"
    assert main(segment_arguments(files, tmp_path / "b.nrrd", "--progress", "none", roi)) == 0
    whole, part = read_labels(tmp_path / "a.nrrd").array, read_labels(tmp_path / "b.nrrd").array
    assert 0 < np.count_nonzero(part) < np.count_nonzero(whole)
    assert not part[3:].any()


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_cancelled_command_says_so_and_leaves_nothing(files, tmp_path, number):
    process = start_slow_segment(files, tmp_path)
    time.sleep(0.3)
    process.send_signal(number)
    assert process.wait(timeout=30) == 3
    assert "cancelled" in process.stderr.read()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="kills with SIGKILL")
@pytest.mark.parametrize("delay", [0.0, 0.4, 0.75, 1.0, 1.25, 1.5])
def test_a_killed_command_leaves_no_output_and_no_temporary_folder(files, tmp_path, delay):
    process = start_slow_segment(files, tmp_path)
    time.sleep(delay)
    process.kill()
    process.wait()
    end = time.monotonic() + 5
    while any(tmp_path.iterdir()) and time.monotonic() < end:
        time.sleep(0.01)
    assert list(tmp_path.iterdir()) == []


SLOW = """
import sys, time
import SegDLEngine.writing_results as writing
from SegDLEngine import pipeline
from SegDLEngine.command_line.main import main

def slowly(name):
    write = writing._WRITERS[name]
    def slow(*arguments):
        write(*arguments)
        time.sleep(0.3)
    return slow

writing._WRITERS = {name: slowly(name) for name in writing._WRITERS}
segment = pipeline.segment
def announce(*arguments):
    print("begun", flush=True)
    return segment(*arguments)
pipeline.segment = announce
sys.exit(main(sys.argv[1:]))
"""


def start_slow_segment(files, folder):
    """segdl segment whose writing takes 1.5 s; returns when the work begins."""
    target = folder / "out"
    wanted = ["--lesions", target / "l.csv", "--report", target / "r.json", "--mean", target / "m.nrrd"]
    arguments = segment_arguments(files, target / "a.seg.nrrd", *wanted, "--progress", "none")
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, *arguments],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "begun\n"
    return process


def test_the_summary_survives_a_reader_that_leaves(files):
    command = f"{sys.executable} -m SegDLEngine models show lung-tumor-unet2d-report | true"
    done = subprocess.run(command, shell=True, env=environment(), capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_inputs_are_parsed_by_name():
    assert parse_inputs(["CT=a=b.nrrd", "PET=p"], ["CT", "PET"]) == {"CT": "a=b.nrrd", "PET": "p"}
    assert parse_inputs(["plain.nrrd"], ["CT"]) == {"CT": "plain.nrrd"}
    for texts in (["plain.nrrd"], ["CT="], ["XX=a"], ["CT=a", "CT=b"]):
        with pytest.raises(InputError):
            parse_inputs(texts, ["CT", "PET"])


def test_roi_corners_may_come_in_any_order():
    assert parse_roi("10,2,30,-1,20,3") == (-1, 10, 2, 20, 3, 30)
    assert parse_roi(None) is None


def test_the_bar_fits_every_terminal():
    for columns in range(1, 200):
        line = bar_line(0.62, "inference", 5.0, columns)
        assert len(line) < max(columns, 2)
    assert bar_line(0.5, "inference", 5.0, 80) == f"[{'#' * 20}{'-' * 20}]  50 %  inference, 5 s left"
    assert [duration(value) for value in (4.6, 200, 7500)] == ["5 s", "3 min 20 s", "2 h 5 min"]


def test_progress_in_a_log_file_has_one_line_a_stage_and_no_control_characters():
    stream = StringIO()
    progress = TerminalProgress(stream)
    for fraction in (0.0, 0.1, 0.2):
        progress({"event": "progress", "stage": "inference", "fraction": fraction})
    progress({"event": "warning", "code": "x", "text": "careful"})
    progress.close()
    assert stream.getvalue() == "  0 %  inference\nsegdl: warning: careful\n"


def test_progress_on_a_terminal_redraws_one_line():
    class Terminal(StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    progress = TerminalProgress(stream)
    progress({"event": "progress", "stage": "inference", "fraction": 0.5, "eta_s": 100.0})
    progress({"event": "progress", "stage": "writing", "fraction": 1.0, "eta_s": 0.0})
    progress.close()
    lines = stream.getvalue().split("\r")
    assert lines[0] == ""
    assert lines[-1].endswith("100 %  writing" + " " * (len(lines[-2]) - len(lines[-1].rstrip())) + "\n")
