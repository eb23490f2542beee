"""The command segdl: models, networks, usage, how arguments are read and how progress is shown."""

from __future__ import annotations

import json
import subprocess
import sys
from io import StringIO

import pytest
import SegDLEngine
from command_line_case import environment
from SegDLEngine.command_line.main import SUBCOMMANDS, main
from SegDLEngine.command_line.segment import parse_inputs, parse_roi
from SegDLEngine.command_line.terminal import TerminalProgress, bar_line, duration
from SegDLEngine.errors import InputError

pytestmark = pytest.mark.usefixtures("own_models_folder")


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


def test_usage_errors_and_help(capsys):
    assert main([]) == 2
    assert main(["nonsense"]) == 2
    assert main(["models"]) == 2
    capsys.readouterr()
    for name in SUBCOMMANDS:
        assert main([name, "--help"]) == 0
    assert main(["--version"]) == 0
    assert SegDLEngine.__version__ in capsys.readouterr().out


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
