"""The engine's process by itself: lines, start, warm reuse, crash, cancel, ending the whole tree."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.host


@pytest.fixture
def makeEngine(slicer_app):
    """Makes EngineProcess objects, for Python code given as text or for the real worker; ends them after."""
    from SegDLLib.engine_process import EngineProcess

    made = []

    def make(code: str | None = None, **options):
        command = [sys.executable, "-c", code] if code is not None else None
        engine = EngineProcess(command, **options)
        engine.events, engine.errors = [], []
        engine.received.connect(engine.events.append)
        engine.ended.connect(engine.errors.append)
        made.append(engine)
        return engine

    yield make
    for engine in made:
        engine.close()
        assert not engine.running


def alive(pid: int) -> bool:
    """True while the process computes; one that waits for its parent to take note of its end has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def waitUntil(condition, seconds=30.0):
    import host

    host.wait_for(condition, seconds)


def test_lines_arrive_whole_however_the_stream_is_cut():
    pytest.importorskip("slicer")
    from SegDLLib.text_lines import TextLines

    text = '{"text":"Lungenrundherd größer 5 mm – 肺"}\r\n\nzweite\nhalb'
    lines, found = TextLines(), []
    for byte in text.encode("utf-8"):
        found += lines.feed(bytes([byte]))
    assert found == ['{"text":"Lungenrundherd größer 5 mm – 肺"}', "zweite"]
    assert lines.rest() == ["halb"]
    assert lines.rest() == []


def test_worker_answers_and_stays_warm(makeEngine, monkeypatch, tmp_path):
    monkeypatch.setenv("SEGDL_MODELS", str(tmp_path))
    before = dict(os.environ)
    engine = makeEngine()
    engine.send({"command": "models", "job": "first"})
    waitUntil(lambda: engine.events)
    pid = engine.pid
    engine.send({"command": "models", "job": "second"})
    waitUntil(lambda: len(engine.events) == 2)

    assert [event["job"] for event in engine.events] == ["first", "second"]
    assert all(event["event"] == "result" for event in engine.events)
    assert engine.pid == pid > 0
    assert dict(os.environ) == before, "the worker's environment must not leak into the application's"


def test_worker_ends_with_shutdown_and_without_a_word(makeEngine):
    engine = makeEngine()
    engine.send({"command": "models", "job": "a"})
    waitUntil(lambda: engine.events)
    pid = engine.pid
    engine.shutdown()
    assert not engine.running
    assert not alive(pid)
    assert engine.errors == []


def test_a_new_worker_starts_after_a_crash(makeEngine):
    engine = makeEngine()
    engine.send({"command": "models", "job": "a"})
    waitUntil(lambda: engine.events)
    first = engine.pid
    os.kill(first, 9)
    waitUntil(lambda: engine.errors)
    assert engine.errors[0].code == "engine_died"
    assert "scene was not changed" in engine.errors[0].text

    engine.send({"command": "models", "job": "b"})
    waitUntil(lambda: len(engine.events) == 2)
    assert engine.pid != first


def test_program_that_does_not_exist_is_named(slicer_app):
    from SegDLEngine.errors import SegDLError
    from SegDLLib.engine_process import EngineProcess

    engine = EngineProcess(["/nowhere/PythonSlicer"])
    with pytest.raises(SegDLError, match="/nowhere/PythonSlicer"):
        engine.send({"command": "models"})
    assert not engine.running
    engine.close()


def test_without_python_slicer_the_error_says_what_to_do(slicer_app, monkeypatch):
    from SegDLEngine.errors import SegDLError
    from SegDLLib.engine_process import EngineProcess

    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("SEGDL_PYTHON", raising=False)
    engine = EngineProcess()
    with pytest.raises(SegDLError, match="PythonSlicer") as caught:
        engine.send({"command": "models"})
    assert "SEGDL_PYTHON" in caught.value.hint
    engine.close()


def test_crash_report_has_the_exit_code_and_the_last_50_lines(makeEngine):
    engine = makeEngine(
        "import sys\n"
        "sys.stdin.readline()\n"
        "sys.stderr.reconfigure(encoding='utf-8')\n"
        "for n in range(80): print('Zeile größer', n, file=sys.stderr)\n"
        "print('no line end', end='', file=sys.stderr)\n"
        "sys.exit(3)"
    )
    engine.send({"command": "segment"})
    waitUntil(lambda: engine.errors)
    error = engine.errors[0]
    lines = error.detail.splitlines()
    assert "code 3" in error.text
    assert len(lines) == 50
    assert lines[0] == "Zeile größer 31"
    assert lines[-1] == "no line end"
    assert not engine.running


def test_a_worker_that_leaves_without_a_fault_is_told_apart(makeEngine):
    engine = makeEngine("import sys; sys.stdin.readline()")
    engine.send({"command": "segment"})
    waitUntil(lambda: engine.errors)
    assert engine.errors[0].code == "engine_left"


def test_missing_package_is_named(makeEngine):
    engine = makeEngine("import a_package_that_is_not_there")
    engine.send({"command": "segment"})
    waitUntil(lambda: engine.errors)
    assert engine.errors[0].code == "dependency"
    assert "'a_package_that_is_not_there'" in engine.errors[0].text


def test_stray_output_is_kept_for_the_report_and_is_no_event(makeEngine):
    engine = makeEngine(
        "import sys\nsys.stdin.readline()\nprint('a library speaks')\n"
        'print(\'{"event":"log","text":"x"}\', flush=True)\nsys.stdin.readline()'
    )
    engine.send({"command": "segment"})
    waitUntil(lambda: engine.events)
    assert [event["text"] for event in engine.events] == ["x"]
    assert "a library speaks" in engine.tail


def test_a_worker_that_ignores_cancel_is_killed_after_the_grace_time(makeEngine):
    engine = makeEngine("import time\ntime.sleep(300)", graceSeconds=0.3)
    engine.send({"command": "segment", "job": "a"})
    pid = engine.pid
    started = time.monotonic()
    engine.cancel("a")
    waitUntil(lambda: engine.errors, 20)
    assert 0.2 < time.monotonic() - started < 10
    assert not alive(pid)
    assert not engine.running


def test_a_worker_that_obeys_cancel_lives_on(makeEngine):
    engine = makeEngine(
        'import sys\nfor line in sys.stdin:\n print(\'{"event":"error"}\', flush=True)', graceSeconds=0.3
    )
    engine.send({"command": "segment", "job": "a"})
    engine.cancel("a")
    waitUntil(lambda: len(engine.events) == 2)
    engine.settled()
    time.sleep(0.5)
    waitUntil(lambda: True)
    assert engine.running
    assert engine.errors == []


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
def test_kill_ends_what_the_launcher_started(makeEngine):
    """As with PythonSlicer: the process that Qt knows only starts the one that computes."""
    inner = "import time; time.sleep(300)"
    middle = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    engine = makeEngine(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {middle!r}])")
    from SegDLLib.process_tree import descendants

    engine.send({"command": "segment"})
    waitUntil(lambda: len(descendants(engine.pid)) == 2)
    family = [engine.pid, *descendants(engine.pid)]
    engine.kill()
    waitUntil(lambda: not any(alive(pid) for pid in family), 10)
    assert not engine.running


def test_nothing_is_called_after_close(slicer_app):
    from SegDLLib.engine_process import EngineProcess

    engine = EngineProcess([sys.executable, "-c", "import time; time.sleep(300)"])
    heard = []
    engine.ended.connect(heard.append)
    engine.send({"command": "segment"})
    pid = engine.pid
    engine.close()
    waitUntil(lambda: not alive(pid), 10)
    assert heard == []


def test_a_failing_listener_does_not_stop_the_others(caplog):
    pytest.importorskip("slicer")
    from SegDLLib.signals import Signal

    signal, heard = Signal(), []
    signal.connect(lambda: 1 / 0)
    signal.connect(lambda: heard.append(1))
    signal.emit()
    assert heard == [1]
    assert "ZeroDivisionError" in caplog.text
    signal.disconnect()
    signal.emit()
    assert heard == [1]
