"""Running the command segdl in tests: in a process of its own or in this one, on the tiny files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import SegDLEngine

ENGINE = Path(SegDLEngine.__file__).parent


REPOSITORY = ENGINE.parents[1]


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
