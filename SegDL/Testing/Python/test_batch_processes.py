"""Several processes share the cases of a batch: none is done twice, and none is lost with its process."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import SegDLEngine
from tiny_case import write_tiny_ct
from tiny_model import write_tiny_package

HERE = Path(__file__).resolve().parent
NAMES = "abcdef"
pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system cannot kill so")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_package(tmp_path_factory.mktemp("model") / "tiny", bias=50.0)


class Batch:
    """A table of cases, and processes that work on it."""

    def __init__(self, model: Path, folder: Path):
        for name in NAMES:
            write_tiny_ct(folder / f"{name}.nrrd")
        table = folder / "cases.csv"
        table.write_text("case,CT\n" + "".join(f"{name},{name}.nrrd\n" for name in NAMES), encoding="utf-8")
        self.output, self._record = folder / "out", folder / "record"
        script = ["batch", "--model", model, "--cases", table, "--output", self.output]
        options = ["--progress", "json", "--precision", "fp32"]
        self._command = [str(part) for part in (HERE / "recorded_batch.py", *script, *options)]

    def start(self, *launcher: str, **environment: str) -> subprocess.Popen[str]:
        paths = [str(Path(SegDLEngine.__file__).parent.parent), str(HERE)]
        fixed = {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "RECORD": str(self._record)}
        return subprocess.Popen(
            [sys.executable, *launcher, *self._command],
            env={**os.environ, **fixed, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def torchrun(self, restarts: int, **environment: str) -> tuple[int, str]:
        """Two processes; exit code and stderr."""
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        process = self.start(*launcher, "--max-restarts", str(restarts), **environment)
        told = process.communicate(timeout=150)[1]
        return process.returncode, told

    def begun(self) -> list[tuple[str, str, str]]:
        """Rank, restart and name of all cases that were begun, in this order."""
        lines = self._record.read_text(encoding="utf-8").splitlines()
        return [tuple(line.split()) for line in lines]  # type: ignore[misc]

    def check_done(self) -> None:
        with (self.output / "summary.csv").open() as stream:
            rows = list(csv.DictReader(stream))
        assert [(row["case"], row["status"]) for row in rows] == [(name, "done") for name in NAMES]
        records = [json.loads((self.output / name / "case.json").read_text()) for name in NAMES]
        assert all((self.output / name / "segmentation.seg.nrrd").is_file() for name in NAMES)
        assert [record["status"] for record in records] == ["done"] * len(NAMES)
        assert sorted(path.name for path in self.output.iterdir()) == [*NAMES, "summary.csv"]


@pytest.fixture
def batch(model, tmp_path):
    return Batch(model, tmp_path)


def test_under_torchrun_no_case_is_done_twice(batch):
    code, told = batch.torchrun(0)
    assert code == 0, told
    batch.check_done()
    assert sorted(case for _, _, case in batch.begun()) == list(NAMES)


def test_torchrun_starts_again_after_a_kill_and_only_what_was_not_done_is_done(batch):
    code, told = batch.torchrun(1, KILLED="1 0")
    assert code == 0, told
    batch.check_done()
    begun = batch.begun()
    killed = [case for rank, restart, case in begun if (rank, restart) == ("1", "0")]
    again = [case for _, restart, case in begun if restart == "1"]
    assert len(killed) == 1 and killed[0] in again
    assert len(set(again)) == len(again), "nor is one done twice after the restart"


def test_the_others_do_the_cases_of_a_killed_process(batch):
    dying = batch.start(RANK="1", WORLD_SIZE="2", KILLED="1 0")
    surviving = batch.start(RANK="0", WORLD_SIZE="2")
    dying.communicate(timeout=100)
    assert dying.returncode == -signal.SIGKILL
    assert surviving.communicate(timeout=100) and surviving.returncode == 0
    batch.check_done()
    begun = batch.begun()
    assert ("1", "0", "d") in begun, "each process begins at its own share"
    assert sorted(case for rank, _, case in begun if rank == "0") == list(NAMES)
