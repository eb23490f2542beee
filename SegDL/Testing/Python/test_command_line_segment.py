"""segdl segment: what it writes, and that nothing is left of it when it is cancelled or killed."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time

import jsonschema
import numpy as np
import pytest
from command_line_case import ENGINE, environment, segdl, segment_arguments
from SegDLEngine.command_line.main import main
from SegDLEngine.images.reading import read_image, read_labels
from SegDLEngine.protocol import EVENTS, decode
from tiny_case import GRID

pytestmark = pytest.mark.usefixtures("own_models_folder")


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
