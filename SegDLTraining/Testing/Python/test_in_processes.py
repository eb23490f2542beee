"""Work in several processes: in order, and nothing is left of it when it is stopped or killed."""

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from SegDLEngine.errors import Cancelled, SegDLError
from SegDLTrainingLib.in_processes import in_processes

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
SECONDS = 30
CASES = 2


@pytest.mark.parametrize("workers", [1, 2])
def test_results_are_in_order_and_errors_in_their_turn(workers):
    results = in_processes(math.sqrt, [9, 1, 4, -1, 25], workers)
    assert [next(results) for _ in range(3)] == [3, 1, 2]
    with pytest.raises(ValueError, match="math domain"):
        next(results)


def test_a_process_that_the_system_ends_is_a_readable_error():
    with pytest.raises(SegDLError, match=r"ended by the system.*--workers 1"):
        list(in_processes(os._exit, [1, 2, 3], 2))


def test_a_stop_does_not_wait_for_work_that_has_begun():
    began = time.monotonic()

    def check() -> None:
        if time.monotonic() - began > 1:
            raise Cancelled

    with pytest.raises(Cancelled):
        list(in_processes(time.sleep, [SECONDS] * 3, 2, check))
    assert time.monotonic() - began < SECONDS / 2


class Preparing:
    """A process whose workers are writing cases; all hold its output open until they end."""

    def __init__(self, cache: Path):
        self.cache = cache
        paths = [ROOT / "SegDL", ROOT / "SegDLTraining", HERE]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "slow_preparing.py"), str(cache)],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip

    def partial(self) -> list[Path]:
        return list(self.cache.rglob("*.partial/image.npy"))

    def wait_for_writing(self) -> None:
        last = time.monotonic() + SECONDS
        while len(self.partial()) < CASES and time.monotonic() < last:
            time.sleep(0.05)
        assert len(self.partial()) == CASES


def kill(process: subprocess.Popen) -> None:
    process.kill()


def terminate(process: subprocess.Popen) -> None:
    process.terminate()


def press_control_c(process: subprocess.Popen) -> None:
    """A terminal tells all processes."""
    os.killpg(process.pid, signal.SIGINT)


POSIX = pytest.mark.skipif(os.name != "posix", reason="this system ends a process only by killing it")


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (kill, -9 if os.name == "posix" else 1),
        pytest.param(terminate, Cancelled.exit_code, marks=POSIX),
        pytest.param(press_control_c, Cancelled.exit_code, marks=POSIX),
    ],
)
def test_nothing_is_left_of_a_preparation_that_ends_early(tmp_path, end, code):
    preparing = Preparing(tmp_path)
    preparing.wait_for_writing()
    end(preparing.process)
    told, _ = preparing.process.communicate(timeout=SECONDS)
    assert preparing.process.returncode == code, told
    assert "Traceback" not in told
    assert [path.name for path in tmp_path.rglob("*") if path.parent != tmp_path] == []
