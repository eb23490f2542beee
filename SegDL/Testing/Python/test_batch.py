"""Many cases: resumed, shared among processes, and not stopped by a bad one."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import SegDLEngine
import SimpleITK
from SegDLEngine.batch import BatchPlan, run_batch
from SegDLEngine.batch_cases import Case, read_cases
from SegDLEngine.claims import Claims
from SegDLEngine.command_line.main import main
from SegDLEngine.errors import Cancelled, InputError
from SegDLEngine.images.conversion import to_sitk
from SegDLEngine.images.reading import read_labels
from SegDLEngine.models.catalogue import load_model
from SegDLEngine.options import SegmentOptions
from SegDLEngine.protocol import Reporter
from tiny_case import tiny_ct, write_tiny_ct
from tiny_model import CARD, write_tiny_package

ENGINE = Path(SegDLEngine.__file__).parent


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_package(tmp_path_factory.mktemp("model") / "tiny", bias=50.0)


@pytest.fixture
def table(tmp_path):
    """cases.csv with the cases a, b and c, of which b has a broken image."""
    for name in "ac":
        write_tiny_ct(tmp_path / f"{name}.nrrd")
    (tmp_path / "b.nrrd").write_bytes(b"broken")
    return write_table(tmp_path / "cases.csv", ["case,CT", "a,a.nrrd", "b,b.nrrd", "c,c.nrrd"])


def write_table(path, lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def batch(model, table, output, *more):
    options = ["--precision", "fp32", "--progress", "none"]
    arguments = ["--model", model, "--cases", table, "--output", output]
    return main(["batch", *map(str, arguments), *options, *map(str, more)])


def record(output, case):
    return json.loads((output / case / "case.json").read_text())


def summary(output):
    with (output / "summary.csv").open() as stream:
        return list(csv.DictReader(stream))


def times(output, case):
    return {path.name: path.stat().st_mtime_ns for path in (output / case).iterdir()}


def test_one_bad_case_stops_nothing_and_is_named(model, table, tmp_path, capsys):
    assert batch(model, table, tmp_path / "out") == 1
    told = capsys.readouterr().err
    assert "case b failed" in told
    assert "2 of 3 cases done" in told
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "b", "c", "summary.csv"]
    files = ["case.json", "lesions.csv", "log.txt", "report.json", "segmentation.seg.nrrd"]
    assert sorted(times(tmp_path / "out", "a")) == files
    assert sorted(times(tmp_path / "out", "b")) == ["case.json", "log.txt"]
    rows = summary(tmp_path / "out")
    assert [row["status"] for row in rows] == ["done", "failed", "done"]
    assert "b.nrrd" in rows[1]["error"]
    assert float(rows[0]["Tumour ml"]) == pytest.approx(32 * 32 * 6 * 0.003)
    log = (tmp_path / "out" / "b" / "log.txt").read_text()
    assert '"event":"error"' in log


def test_a_second_run_does_only_what_is_left(model, table, tmp_path, capsys):
    output = tmp_path / "out"
    batch(model, table, output)
    before = times(output, "a")
    write_tiny_ct(tmp_path / "b.nrrd")
    assert batch(model, table, output) == 0
    assert times(output, "a") == before
    assert record(output, "b")["status"] == "done"


@pytest.mark.parametrize("change", ["image", "option", "model", "lost file"])
def test_a_case_is_done_again_when_something_changed(model, tmp_path, capsys, change):
    output = tmp_path / "out"
    write_tiny_ct(tmp_path / "a.nrrd")
    table = write_table(tmp_path / "cases.csv", ["case,CT", "a,a.nrrd"])
    assert batch(model, table, output) == 0
    before = times(output, "a")["case.json"]
    more = []
    if change == "image":
        os.utime(tmp_path / "a.nrrd", ns=(1, 1))
    elif change == "option":
        more = ["--threshold", "0.4"]
    elif change == "model":
        model = write_tiny_package(tmp_path / "other", bias=40.0)
    else:
        (output / "a" / "report.json").unlink()
    assert batch(model, table, output, *more) == 0
    assert times(output, "a")["case.json"] != before
    assert (output / "a" / "report.json").is_file()


def test_a_changed_4d_file_is_noticed_though_the_table_names_a_volume_of_it(model, tmp_path, capsys):
    frame = to_sitk(tiny_ct())
    SimpleITK.WriteImage(SimpleITK.JoinSeries([frame, frame]), str(tmp_path / "a.nii.gz"))
    table = write_table(tmp_path / "cases.csv", ["case,CT", "a,a.nii.gz#1"])
    assert batch(model, table, tmp_path / "out") == 0
    before = times(tmp_path / "out", "a")["case.json"]
    os.utime(tmp_path / "a.nii.gz", ns=(1, 1))
    assert batch(model, table, tmp_path / "out") == 0
    assert times(tmp_path / "out", "a")["case.json"] != before


def test_references_are_evaluated(model, tmp_path, capsys):
    ct = write_tiny_ct(tmp_path / "a.nrrd")
    first = write_table(tmp_path / "first.csv", ["case,CT", "a,a.nrrd"])
    assert batch(model, first, tmp_path / "one", "--format", ".nii.gz") == 0
    reference = tmp_path / "one" / "a" / "segmentation.nii.gz"
    assert np.count_nonzero(read_labels(reference).array) == 32 * 32 * 6
    second = write_table(tmp_path / "second.csv", ["case;CT;reference", f"a;{ct};{reference}"])
    assert batch(model, second, tmp_path / "two") == 0
    (row,) = summary(tmp_path / "two")
    assert float(row["Tumour dice"]) == 1.0
    assert float(row["Tumour hd95_mm"]) == 0.0


def test_a_bad_reference_fails_its_case(model, tmp_path, capsys):
    write_tiny_ct(tmp_path / "a.nrrd")
    table = write_table(tmp_path / "cases.csv", ["case,CT,reference", "a,a.nrrd,none.nrrd"])
    assert batch(model, table, tmp_path / "out") == 1
    assert "none.nrrd" in summary(tmp_path / "out")[0]["error"]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([], "column 'case'"),
        (["case,CT"], "no rows"),
        (["case,MR", "a,b"], "column 'CT'"),
        (["case,CT,PTE", "a,b,c"], "'PTE'"),
        (["case,CT", "a,"], "Row 2"),
        (["case,CT", "../a,b"], "Row 2"),
        (["case,CT", "a,b", "A,c"], "twice"),
        (["case,CT", "a,b,c"], "Row 2"),
        (["case,CT", "", "a,"], "Row 3"),
        (["case,CT,CT", "a,b,c"], "'CT' twice"),
    ],
)
def test_a_wrong_table_is_named(tmp_path, lines, told):
    with pytest.raises(InputError) as caught:
        read_cases(write_table(tmp_path / "cases.csv", lines), CARD["inputs"])
    assert told in caught.value.text


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffcase;CT;reference\r\na; sub/a.nrrd ;\r\n",
        "sep=;\r\ncase;CT;reference\r\na;sub/a.nrrd;\r\n",
        "case,CT,reference,,\r\na,sub/a.nrrd,,,\r\n,,,,\r\n   \r\n",
    ],
    ids=["byte order mark", "delimiter said", "empty cells"],
)
def test_a_table_from_a_spreadsheet_is_read(tmp_path, text):
    path = tmp_path / "cases.csv"
    path.write_bytes(text.encode())
    assert read_cases(path, CARD["inputs"]) == [Case("a", {"CT": str(tmp_path / "sub" / "a.nrrd")})]


def test_a_summary_that_cannot_be_written_is_named(model, tmp_path, capsys):
    """As where a spreadsheet keeps the older one open."""
    write_tiny_ct(tmp_path / "a.nrrd")
    table = write_table(tmp_path / "cases.csv", ["case,CT", "a,a.nrrd"])
    (tmp_path / "out" / "summary.csv").mkdir(parents=True)
    assert batch(model, table, tmp_path / "out") == 2
    told = capsys.readouterr().err
    assert "summary.csv' is a folder" in told and "unexpected" not in told
    assert record(tmp_path / "out", "a")["status"] == "done"
    assert not list((tmp_path / "out").glob(".*summary*"))


def test_wrong_folders_and_options_are_usage_errors(model, table, tmp_path, capsys):
    assert batch(model, table, tmp_path / "none" / "none") == 2
    assert batch(model, tmp_path / "none.csv", tmp_path / "out") == 2
    assert batch(model, table, tmp_path / "out", "--workers", 0) == 2
    assert batch(tmp_path / "none", table, tmp_path / "out") == 2
    assert not (tmp_path / "out").exists()


def test_a_cancelled_batch_stops_and_frees_its_claim(model, tmp_path):
    write_tiny_ct(tmp_path / "a.nrrd")
    cases = [Case("a", {"CT": str(tmp_path / "a.nrrd")})]
    plan = BatchPlan(
        load_model(model), SegmentOptions(), tmp_path / "out", {"segmentation": "segmentation.nrrd"}
    )
    with pytest.raises(Cancelled):
        run_batch(plan, cases, Reporter(cancelled=lambda: True))
    assert not (tmp_path / "out" / ".claims").exists()
    assert not (tmp_path / "out" / "a" / "segmentation.nrrd").exists()


def test_two_workers_share_the_cases(model, tmp_path):
    names = "abcd"
    for name in names:
        write_tiny_ct(tmp_path / f"{name}.nrrd")
    table = write_table(tmp_path / "cases.csv", ["case,CT", *(f"{name},{name}.nrrd" for name in names)])
    output = tmp_path / "out"
    command = [sys.executable, "-m", "SegDLEngine", "batch", "--model", model, "--cases", table]
    environment = {**os.environ, "PYTHONPATH": str(ENGINE.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [
            *map(str, [*command, "--output", output, "--workers", 2]),
            "--progress",
            "json",
            "--precision",
            "fp32",
        ],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [row["status"] for row in summary(output)] == ["done"] * 4
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    results = [event["cases"] for event in events if event["event"] == "result"]
    assert any([case["status"] for case in cases] == ["done"] * 4 for cases in results)
    assert not (output / ".claims").exists()


def test_a_claim_is_exclusive_until_it_is_released(tmp_path):
    first, second = Claims(tmp_path / "c"), Claims(tmp_path / "c")
    with first.claim("a") as ours:
        assert ours
        with second.claim("a") as also, second.claim("a.1") as other:
            assert not also
            assert other
    with second.claim("a") as ours:
        assert ours


def test_of_many_only_one_gets_the_claim(tmp_path):
    winners = []
    barrier = threading.Barrier(8)

    def compete():
        claims = Claims(tmp_path / "c")
        barrier.wait()
        with claims.claim("a") as ours:
            winners.append(ours)
            time.sleep(0.3)

    threads = [threading.Thread(target=compete) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert winners.count(True) == 1


def test_a_dead_claim_is_taken_over(tmp_path):
    claims = Claims(tmp_path / "c", stale_s=60, beat_s=10)
    foreign = tmp_path / "c" / "a.1"
    foreign.write_text('{"machine": "elsewhere", "pid": 1}')
    with claims.claim("a") as ours:
        assert not ours
    os.utime(foreign, (time.time() - 61,) * 2)
    with claims.claim("a") as ours:
        assert ours
    claims.close()
    assert not (tmp_path / "c").exists()


def test_a_claim_is_renewed_while_the_work_lasts(tmp_path):
    owner, other = Claims(tmp_path / "c", stale_s=0.5, beat_s=0.1), Claims(tmp_path / "c", stale_s=0.5)
    with owner.claim("a") as ours:
        assert ours
        time.sleep(1.0)
        with other.claim("a") as also:
            assert not also


@pytest.mark.skipif(os.name != "posix", reason="asks for the process of the claim")
def test_the_claim_of_a_killed_process_is_free_at_once(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from SegDLEngine.claims import Claims\n"
        "with Claims(Path(sys.argv[1])).claim('a'):\n    print('mine', flush=True); time.sleep(30)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "c")],
        env={**os.environ, "PYTHONPATH": str(ENGINE.parent)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "mine\n"
    claims = Claims(tmp_path / "c")
    with claims.claim("a") as ours:
        assert not ours
    process.kill()
    process.wait()
    with claims.claim("a") as ours:
        assert ours
