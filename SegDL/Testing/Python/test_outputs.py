"""Output files appear together or not at all, whatever ends the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from SegDLEngine.errors import InputError
from SegDLEngine.outputs import OutputFiles

ENGINE = Path(__file__).resolve().parents[2]


def listing(folder):
    """Relative paths of all files and folders; other processes may remove some meanwhile."""
    return sorted(
        os.path.relpath(os.path.join(parent, name), folder)
        for parent, folders, files in os.walk(folder)
        for name in folders + files
    )


def wait_for_listing(folder, expected, seconds=5.0):
    """The guardian needs a moment after the death of its process."""
    end = time.monotonic() + seconds
    while listing(folder) != expected and time.monotonic() < end:
        time.sleep(0.01)
    return listing(folder)


def test_all_files_appear_at_the_end(tmp_path):
    with OutputFiles({"a": tmp_path / "a.txt", "b": tmp_path / "new" / "b.txt", "c": None}) as outputs:
        assert "c" not in outputs
        assert listing(tmp_path) == []
        outputs.path("a").write_text("1")
        outputs.path("b").write_text("2")
        assert not (tmp_path / "a.txt").exists()
        assert not (tmp_path / "new" / "b.txt").exists()
    assert listing(tmp_path) == ["a.txt", "new", "new/b.txt"]
    assert (tmp_path / "new" / "b.txt").read_text() == "2"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_nothing_and_keeps_older_files(tmp_path, error):
    (tmp_path / "a.txt").write_text("old")
    with (
        pytest.raises(error),
        OutputFiles({"a": tmp_path / "a.txt", "b": tmp_path / "new" / "b.txt"}) as outputs,
    ):
        outputs.path("a").write_text("1")
        outputs.path("b").write_text("2")
        raise error
    assert listing(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_file_that_cannot_be_moved_undoes_the_others(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    outputs = OutputFiles({"a": tmp_path / "a.txt", "b": tmp_path / "b.txt", "c": tmp_path / "c.txt"})
    with pytest.raises(InputError, match=r"c\.txt"), outputs:
        for name in "abc":
            outputs.path(name).write_text("new")
        outputs.path("c").unlink()
    assert listing(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_undoing_works_without_a_guardian(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "")
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(RuntimeError), OutputFiles({"a": tmp_path / "a.txt"}) as outputs:
        outputs.path("a").write_text("new")
        raise RuntimeError
    with OutputFiles({"b": tmp_path / "b.txt"}) as outputs:
        outputs.path("b").write_text("new")
    assert listing(tmp_path) == ["a.txt", "b.txt"]


@pytest.mark.parametrize(
    ("targets", "reason"),
    [
        ({"a": "folder"}, "is a folder"),
        ({"a": "none/none/a.nrrd"}, "there is no folder"),
        ({"a": "file/a.nrrd"}, "is a file"),
        ({"a": "x.nrrd", "b": "folder/../x.nrrd"}, "are one file"),
        ({"a": "file"}, "is an input"),
    ],
)
def test_a_target_that_cannot_be_written_is_refused_before_the_work(tmp_path, targets, reason):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    before = listing(tmp_path)
    with pytest.raises(InputError, match=reason):
        OutputFiles(
            {name: os.path.join(tmp_path, path) for name, path in targets.items()}, [tmp_path / "file"]
        )
    assert listing(tmp_path) == before


def test_a_target_that_is_an_input_is_refused_also_where_a_volume_of_it_is_named(tmp_path):
    source = tmp_path / "ct.nii.gz"
    source.write_text("four volumes")
    for named in (source, f"{source}#1"):
        with pytest.raises(InputError, match="is an input"):
            OutputFiles({"labels": source}, [named])
    OutputFiles({"labels": tmp_path / "other.nii.gz"}, [tmp_path / "missing.nii.gz"])


def test_a_folder_without_permission_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match="no permission"):
        OutputFiles({"a": tmp_path / "a.nrrd"})


WRITER = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from SegDLEngine.outputs import OutputFiles
names = ["a", "b", "new/c", "new/d"]
moment = float(sys.argv[3])
with OutputFiles({name: os.path.join(sys.argv[2], name + ".txt") for name in names}) as outputs:
    print("ready", flush=True)
    for name in names:
        with open(outputs.path(name), "w") as stream:
            stream.write("new" * 100000)
        time.sleep(moment)
    replace = os.replace
    os.replace = lambda source, target: (replace(source, target), time.sleep(moment))
print("done", flush=True)
time.sleep(30)
"""


def start_writer(folder, moment=0.02):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(ENGINE), str(folder), str(moment)],
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(os.name != "posix", reason="kills with SIGKILL")
@pytest.mark.parametrize("delay", [0.0, 0.03, 0.07, 0.1, 0.13, 0.17])
def test_a_killed_process_leaves_what_was_there_before(tmp_path, delay):
    (tmp_path / "a.txt").write_text("old")
    writer = start_writer(tmp_path)
    assert writer.stdout.readline() == "ready\n"
    time.sleep(delay)
    writer.send_signal(signal.SIGKILL)
    rest = writer.stdout.read()
    writer.wait()
    assert "done" not in rest
    assert wait_for_listing(tmp_path, ["a.txt"]) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


@pytest.mark.skipif(os.name != "posix", reason="kills with SIGKILL")
def test_a_process_killed_after_the_commit_leaves_all_files(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    writer = start_writer(tmp_path, 0)
    assert writer.stdout.readline() == "ready\n"
    assert writer.stdout.readline() == "done\n"
    writer.kill()
    writer.wait()
    assert listing(tmp_path) == ["a.txt", "b.txt", "new", "new/c.txt", "new/d.txt"]
    assert (tmp_path / "a.txt").read_text().startswith("new")


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="reads the process tree from /proc")
def test_a_process_killed_with_all_its_children_leaves_what_was_there_before(tmp_path):
    writer = start_writer(tmp_path, 0.5)
    assert writer.stdout.readline() == "ready\n"
    wait_for = time.monotonic() + 5
    while not any("a.txt" in name for name in listing(tmp_path)) and time.monotonic() < wait_for:
        time.sleep(0.01)
    time.sleep(0.3)
    children = Path(f"/proc/{writer.pid}/task/{writer.pid}/children").read_text().split()
    for pid in (writer.pid, *map(int, children)):
        os.kill(pid, signal.SIGKILL)
    writer.wait()
    assert wait_for_listing(tmp_path, []) == []
