"""The worker process: jobs, cancel, warmth, a clean protocol, and its end in every circumstance."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import SegDLEngine
from SegDLEngine.protocol import EVENTS, decode
from tiny_case import write_tiny_ct
from tiny_model import write_tiny_package

ENGINE = Path(SegDLEngine.__file__).parent
LAST = ("result", "error")


# A worker whose inputs can be slow: an image named slow.nrrd takes 30 s, in steps that hear a cancel; one
# named deaf.nrrd takes 30 s and hears nothing; one named noisy.nrrd prints on every level.
TEST_WORKER = """
import os, sys, time
from SegDLEngine import pipeline
from SegDLEngine.command_line.main import main
segment = pipeline.segment
def slowly(case, model, options, reporter, *more, **named):
    path = case["CT"]
    if "noisy" in path:
        print("stray print"); os.write(1, b"stray bytes\\n"); os.system("echo stray child")
    for _ in range(300 if "slow" in path or "deaf" in path else 0):
        time.sleep(0.1)
        if "slow" in path:
            reporter.progress("reading", 0.0)
    return segment(case, model, options, reporter, *more, **named)
pipeline.segment = slowly
sys.exit(main(["worker", *sys.argv[1:]]))
"""


class WorkerProcess:
    """A worker for tests; its events arrive in a queue, so that waiting for them can time out."""

    def __init__(self, files, *arguments):
        self.files = files
        self.process = subprocess.Popen(
            [sys.executable, "-c", TEST_WORKER, *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(ENGINE.parent)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def send(self, **command):
        self.process.stdin.write(json.dumps(command, ensure_ascii=False).encode() + b"\n")
        self.process.stdin.flush()

    def segment(self, job, output, ct="ct.nrrd", **more):
        self.send(
            command="segment",
            job=job,
            model=str(self.files / "tiny"),
            inputs={"CT": str(self.files / ct)},
            outputs={"segmentation": str(output)},
            **{"options": {"precision": "fp32"}, **more},
        )

    def events(self, job=None, until=LAST, timeout=60):
        """Events of a job (of all by default) up to the first of the kinds ``until``."""
        found = []
        while not found or found[-1]["event"] not in until:
            line = self.lines.get(timeout=timeout)
            assert line is not None, "the worker has ended"
            event = decode(line.decode())
            if job is None or event.get("job") == job:
                found.append(event)
        return found

    def last(self, job=None):
        return self.events(job)[-1]

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(BrokenPipeError):
                stream.close()


@pytest.fixture(scope="module")
def worker(files):
    """One warm worker that the gentle tests share."""
    process = WorkerProcess(files)
    yield process
    process.close()


@pytest.fixture
def own_worker(files):
    processes = []

    def start(*arguments):
        processes.append(WorkerProcess(files, *arguments))
        return processes[-1]

    yield start
    for process in processes:
        process.close()


def wait_until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def test_a_job_is_accepted_reports_progress_and_ends_with_its_result(worker, tmp_path):
    worker.segment("one", tmp_path / "a.seg.nrrd")
    events = worker.events("one")
    assert events[0]["event"] == "accepted"
    assert {event["event"] for event in events} <= set(EVENTS)
    stages = [event["stage"] for event in events if event["event"] == "progress"]
    assert list(dict.fromkeys(stages)) == [
        "reading",
        "preprocessing",
        "inference",
        "postprocessing",
        "writing",
    ]
    result = events[-1]
    assert result["event"] == "result"
    assert result["files"] == {"segmentation": str(tmp_path / "a.seg.nrrd")}
    assert {"lesions", "provenance", "warnings", "seconds"} <= set(result)
    assert (tmp_path / "a.seg.nrrd").is_file()


def test_a_warm_worker_needs_no_start(worker, tmp_path):
    for job in ("warm-1", "warm-2"):
        worker.segment(job, tmp_path / "a.nrrd")
        result = worker.last(job)
    assert result["seconds"] < 5


def test_text_is_utf8(worker, tmp_path):
    worker.segment("jób-µ", tmp_path / "Größe µ.nrrd")
    assert worker.last("jób-µ")["files"]["segmentation"].endswith("Größe µ.nrrd")
    assert (tmp_path / "Größe µ.nrrd").is_file()


def test_models_are_listed_with_their_cards(worker):
    worker.send(command="models", job="list")
    models = worker.last("list")["models"]
    assert "lung-tumor-unet2d-report" in [model["id"] for model in models]
    assert models[0]["card"]["schema"] == "segdl-model-card-1"


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (b"not json", "JSON"),
        (b"[1, 2]", "JSON"),
        (b"\xff\xfe", "JSON"),
        (b'{"command": "dance"}', "dance"),
        (b'{"command": "segment"}', "job"),
        (b'{"command": "segment", "job": 3}', "job"),
        (b'{"command": "segment", "job": "x", "colour": 1}', "colour"),
    ],
)
def test_a_wrong_command_is_an_error_and_the_worker_lives(worker, command, told):
    worker.process.stdin.write(command + b"\n")
    worker.process.stdin.flush()
    error = worker.last()
    assert (error["event"], error["code"]) == ("error", "protocol")
    assert told in error["text"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"options": {"samples": "many"}}, "samples"),
        ({"options": {"nonsense": 1}}, "nonsense"),
        ({"options": [1]}, "options"),
        ({"ct": "none.nrrd"}, "none.nrrd"),
    ],
)
def test_a_wrong_job_is_an_error_of_the_job(worker, tmp_path, change, told):
    worker.segment("wrong", tmp_path / "a.nrrd", **change)
    error = worker.last("wrong")
    assert error["event"] == "error"
    assert told in error["text"]
    assert list(tmp_path.iterdir()) == []


def test_stray_prints_do_not_reach_the_protocol(worker, tmp_path):
    write_tiny_ct(worker.files / "noisy.nrrd")
    worker.segment("noisy", tmp_path / "a.nrrd", ct="noisy.nrrd")
    assert worker.last("noisy")["event"] == "result"


def test_cancel_ends_the_running_job_and_a_waiting_one(worker, tmp_path):
    worker.segment("slow", tmp_path / "a.nrrd", ct="slow.nrrd")
    worker.segment("waiting", tmp_path / "b.nrrd")
    worker.events("slow", until=("progress",))
    worker.send(command="cancel", job="waiting")
    worker.send(command="cancel", job="slow")
    started = time.monotonic()
    for job in ("slow", "waiting"):
        error = worker.last(job)
        assert (error["event"], error["code"]) == ("error", "cancelled")
    assert time.monotonic() - started < 5
    assert list(tmp_path.iterdir()) == []
    worker.segment("after", tmp_path / "c.nrrd")
    assert worker.last("after")["event"] == "result"


def test_a_job_that_is_already_here_is_refused(worker, tmp_path):
    worker.segment("twice", tmp_path / "a.nrrd", ct="slow.nrrd")
    worker.events("twice", until=("progress",))
    worker.segment("twice", tmp_path / "a.nrrd")
    assert worker.last("twice")["code"] == "protocol"
    worker.send(command="cancel", job="twice")
    assert worker.last("twice")["code"] == "cancelled"


def test_a_changed_package_is_loaded_again(worker, tmp_path):
    folder = write_tiny_package(tmp_path / "model", bias=-50.0)
    counts = []
    for bias in (-50.0, 50.0):
        write_tiny_package(folder, bias=bias)
        worker.send(
            command="segment",
            job="changed",
            model=str(folder),
            inputs={"CT": str(worker.files / "ct.nrrd")},
            outputs={"labels": str(tmp_path / "a.nrrd")},
        )
        counts.append(worker.last("changed")["labels"][0]["voxels"])
    assert counts == [0, 32 * 32 * 6]


def test_shutdown_ends_the_worker_and_its_job(own_worker, tmp_path):
    worker = own_worker()
    worker.segment("slow", tmp_path / "a.nrrd", ct="slow.nrrd")
    worker.events("slow", until=("progress",))
    worker.send(command="shutdown")
    assert worker.process.wait(timeout=10) == 0
    assert list(tmp_path.iterdir()) == []


def test_an_idle_worker_ends_itself(own_worker):
    assert own_worker("--idle-seconds", 0.2).process.wait(timeout=30) == 0


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
def test_sigterm_ends_cleanly(own_worker, tmp_path):
    worker = own_worker()
    worker.segment("slow", tmp_path / "a.nrrd", ct="slow.nrrd")
    worker.events("slow", until=("progress",))
    worker.process.send_signal(signal.SIGTERM)
    assert worker.last("slow")["code"] == "cancelled"
    assert worker.process.wait(timeout=30) == 0


@pytest.mark.parametrize("ct", ["slow.nrrd", "deaf.nrrd"])
def test_the_end_of_the_input_ends_the_worker_at_once(own_worker, tmp_path, ct):
    worker = own_worker()
    worker.segment("job", tmp_path / "a.nrrd", ct=ct)
    worker.events("job", until=("accepted",))
    time.sleep(0.5)
    worker.process.stdin.close()
    assert worker.process.wait(timeout=5) == 0
    assert list(tmp_path.iterdir()) == []


PARENT = """
import subprocess, sys, time
worker = subprocess.Popen([sys.executable, "-m", "SegDLEngine", "worker"], stdin=subprocess.PIPE)
print(worker.pid, flush=True)
time.sleep(60)
"""


def is_running(pid):
    """False also for a dead process that nobody has collected yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for the process in /proc")
def test_the_worker_dies_with_its_parent_even_if_somebody_holds_its_input(tmp_path):
    reader, writer = os.pipe()
    os.set_inheritable(reader, True)
    code = PARENT.replace("stdin=subprocess.PIPE", f"stdin={reader}")
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ENGINE.parent)},
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=[reader],
    )
    try:
        worker = int(parent.stdout.readline())
        os.write(writer, b'{"command": "models"}\n')
        assert decode(parent.stdout.readline())["event"] == "result"
        parent.kill()
        parent.wait()
        assert wait_until(lambda: not is_running(worker))
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for the process in /proc")
def test_the_worker_dies_with_its_parent():
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        env={**os.environ, "PYTHONPATH": str(ENGINE.parent)},
        stdout=subprocess.PIPE,
        text=True,
    )
    worker = int(parent.stdout.readline())
    assert is_running(worker)
    parent.kill()
    parent.wait()
    assert wait_until(lambda: not is_running(worker))


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="uses the Linux parent-death signal")
def test_the_worker_outlives_the_thread_that_started_it(files):
    started = []
    thread = threading.Thread(target=lambda: started.append(WorkerProcess(files)))
    thread.start()
    thread.join()
    worker = started[0]
    try:
        time.sleep(1.0)
        worker.send(command="models", job="list")
        assert worker.last("list")["event"] == "result"
    finally:
        worker.close()
