"""What the end of a training's process means, and that one dies with everything it started."""

from __future__ import annotations

import time

import pytest

pytestmark = pytest.mark.host


def event(**fields):
    return {"event": "error", "hint": "", "detail": "", **fields}


def test_a_good_end_is_no_error():
    pytest.importorskip("slicer")
    from SegDLLib.training.training_end import verdict

    assert verdict(None, 0, False, ["a library prints"]) is None


@pytest.mark.parametrize(
    ("error", "tail", "text", "code"),
    [
        (event(code="input", text="No case.", hint="Add one."), ["Traceback"], "No case.", "input"),
        (
            event(code="cancelled", text="Stopped after step 3 of 9."),
            [],
            "Stopped after step 3 of 9.",
            "cancelled",
        ),
        (None, ["segdl: error: The package is broken.", "bye"], "The package is broken.", "failed"),
        (None, ["ModuleNotFoundError: No module named 'torch'"], "lacks the package 'torch'", "dependency"),
        (None, ["Bus error"], "ended with code 1", "training_died"),
    ],
)
def test_a_bad_end_is_told_in_one_sentence(error, tail, text, code):
    pytest.importorskip("slicer")
    from SegDLEngine.errors import Cancelled
    from SegDLLib.training.training_end import verdict

    found = verdict(error, 1, False, tail)
    assert text in found.text
    assert "\n" not in found.text
    assert found.code == code
    assert isinstance(found, Cancelled) == (code == "cancelled")


@pytest.mark.parametrize(
    ("exitCode", "crashed", "tail"),
    [
        (9, True, []),
        (137, False, []),
        (1, False, ["error: [PythonSlicer] exit abnormally - Report it."]),
    ],
)
def test_a_kill_is_known_by_signal_code_or_launcher(exitCode, crashed, tail):
    pytest.importorskip("slicer")
    from SegDLLib.training.training_end import verdict

    found = verdict(None, exitCode, crashed, ["No module named 'triton'", *tail])
    assert found.text == "The training was ended by the system or crashed."
    assert "Memory may have run out" in found.hint
    assert "goes on from its last checkpoint" in found.hint


def test_the_exception_of_a_foreign_program_is_told():
    pytest.importorskip("slicer")
    from SegDLLib.training.training_end import verdict

    found = verdict(None, 1, False, ["Traceback", "  raise", "torch.OutOfMemoryError: Too large.", "bye"])
    assert found.text == "The training ended with code 1: torch.OutOfMemoryError: Too large."
    assert found.detail.splitlines()[-1] == "bye"


def test_the_other_python_is_told_to_get_the_package(monkeypatch):
    pytest.importorskip("slicer")
    from SegDLLib.training.training_end import verdict

    monkeypatch.setenv("SEGDL_PYTHON", "/opt/python")
    found = verdict(None, 1, False, ["ModuleNotFoundError: No module named 'torch'"])
    assert found.hint == "Install it for /opt/python."


def test_an_error_event_without_fields_is_an_error_still():
    pytest.importorskip("slicer")
    from SegDLLib.training.training_end import verdict

    assert verdict({"event": "error"}, 1, False, []).code == "failed"


def test_endless_output_is_kept_by_its_end(slicer_app, monkeypatch, tmp_path):
    import host
    from SegDLLib.training.training_process import TrainingProcess

    (tmp_path / "chatty.py").write_text(
        "import sys\n"
        "for n in range(300): sys.stderr.write(f'\\rloading {n} %')\n"
        "sys.stderr.write('x' * 3_000_000 + 'end\\n')\n"
        "sys.stdout.buffer.write(b'\\xff\\xfe no text\\n')\n"
        "sys.exit(1)\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    process = TrainingProcess()
    ends = []
    process.ended.connect(ends.append)
    try:
        process.run(["chatty"])
        host.wait_for(lambda: ends, 30)
    finally:
        process.close()
    lines = ends[0].detail.splitlines()
    assert len(lines) == 50
    assert max(map(len, lines)) < 2100
    assert any(line.endswith("xend") for line in lines)
    assert "loading 298 %" in lines


def test_a_killed_process_says_that_it_can_go_on(slicer_app, monkeypatch):
    import host
    from SegDLLib.training.training_process import TrainingProcess

    process = TrainingProcess()
    ends = []
    process.ended.connect(ends.append)
    try:
        process.run(["http.server", "0", "--bind", "127.0.0.1"])
        host.wait_for(lambda: process.pid > 0, 30)
        process.kill()
        host.wait_for(lambda: ends, 30)
    finally:
        process.close()
    assert "was ended by the system" in ends[0].text
    assert "goes on from its last checkpoint" in ends[0].hint


def test_a_plain_process_hands_on_events_while_it_is_waited_for(scene, monkeypatch, tmp_path):
    from SegDLLib.training import plain_process

    (tmp_path / "chatty.py").write_text(
        "import sys\n"
        "print('a library')\n"
        'print(\'{"event":"log","text":"größer"}\', flush=True)\n'
        "line = sys.stdin.readline()\n"
        'print(\'{"event":"error","code":"cancelled","text":"Stopped."}\')\n'
        "sys.exit(3 if 'stop' in line else 1)\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    process = plain_process.PlainProcess()
    events, ends = [], []
    process.received.connect(events.append)
    process.ended.connect(ends.append)
    process.run(["chatty"], stoppable=True)
    limit = time.monotonic() + 30
    while not events and time.monotonic() < limit:
        process.wait(100)
    assert events[0]["text"] == "größer"
    assert process.running
    process.stop()
    while not ends and time.monotonic() < limit:
        process.wait(100)
    assert (ends[0].code, ends[0].text) == ("cancelled", "Stopped.")
    assert list(process.tail) == ["a library"]
    assert not process.running
