"""A folder belongs to one training at a time, and to none after a kill."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[2]
ENGINE = LIBRARY.parent / "SegDL"
HOLDER = f"""
import sys
sys.path[:0] = [{str(LIBRARY)!r}, {str(ENGINE)!r}]
from pathlib import Path
from SegDLTrainingLib.lock import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that trains in ``tmp_path``."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_folder_that_is_in_use_is_refused_until_its_user_is_gone(holder, tmp_path):
    from SegDLEngine.errors import SegDLError
    from SegDLTrainingLib.lock import alone

    with pytest.raises(SegDLError, match="Another training is running") as caught, alone(tmp_path):
        pass
    assert caught.value.code == "busy"
    holder.kill()
    holder.wait()
    with alone(tmp_path):
        pass


def test_a_second_training_is_refused_before_it_reads_a_case(holder, tmp_path):
    pytest.importorskip("torch")
    from SegDLEngine.errors import SegDLError
    from SegDLEngine.protocol import Reporter
    from SegDLTrainingLib.workplace import workplace

    tmp_path.rename(tmp_path.with_name("model-training"))
    output = tmp_path.with_name("model")
    with pytest.raises(SegDLError, match="model-training"), workplace(output, Reporter()):
        pass


def test_a_file_system_without_locks_does_not_matter(tmp_path, monkeypatch):
    import errno

    from SegDLTrainingLib import lock

    def refuse(_stream):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "_lock", refuse)
    with lock.alone(tmp_path):
        assert (tmp_path / lock.LOCK_FILE).exists()
