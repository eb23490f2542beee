"""segdl segment with what it cannot use: exit codes, and one readable line that names the cause."""

from __future__ import annotations

import json
import os
import sys

import numpy as np
import pytest
import SimpleITK
from command_line_case import error_line, segdl, segment_arguments
from SegDLEngine.command_line.main import main
from SegDLEngine.protocol import decode
from tiny_case import tiny_ct, write_tiny_ct
from tiny_model import tiny_card, write_tiny_package

pytestmark = pytest.mark.usefixtures("own_models_folder")


def test_json_errors_are_events(files, tmp_path, capsys):
    code = main(
        segment_arguments(files, tmp_path / "a.nrrd", "--progress", "json", ct=tmp_path / "none.nrrd")
    )
    told = capsys.readouterr()
    assert (code, told.err) == (2, "")
    assert decode(told.out.splitlines()[-1])["event"] == "error"


def write_with_sitk(path, array, vector=False):
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array, isVector=vector), str(path))
    return path


def bad_image(kind, folder):
    ct = tiny_ct().array
    path = folder / f"{kind}.nrrd"
    if kind == "missing":
        return path
    if kind == "no bytes":
        path.write_bytes(b"")
    elif kind == "corrupt":
        path.write_bytes(os.urandom(2000))
    elif kind == "truncated":
        whole = write_tiny_ct(path).read_bytes()
        path.write_bytes(whole[: len(whole) - 40])
    elif kind == "truncated nifti":
        path = write_tiny_ct(folder / "cut.nii.gz")
        path.write_bytes(path.read_bytes()[:-40])
    elif kind == "2D":
        write_with_sitk(path, ct[2])
    elif kind == "RGB":
        write_with_sitk(path, np.stack([ct, ct, ct], axis=-1), vector=True)
    elif kind == "4D":
        path = folder / "four.nii.gz"
        frames = [SimpleITK.GetImageFromArray(ct), SimpleITK.GetImageFromArray(ct)]
        SimpleITK.WriteImage(SimpleITK.JoinSeries(frames), str(path))
    elif kind == "NaN":
        write_with_sitk(path, np.where(ct > 0, np.nan, ct.astype(np.float32)).astype(np.float32))
    elif kind == "constant":
        write_with_sitk(path, np.full_like(ct, 7))
    elif kind == "wrong unit":
        write_with_sitk(path, ((ct + 1000) / 2000.0).astype(np.float32))
    elif kind == "empty folder":
        path = folder / "empty folder"
        path.mkdir()
    elif kind == "text":
        path = folder / "notes.txt"
        path.write_text("no image")
    return path


@pytest.mark.parametrize(
    "kind",
    [
        "missing",
        "no bytes",
        "corrupt",
        "truncated",
        "truncated nifti",
        "2D",
        "RGB",
        "4D",
        "NaN",
        "constant",
        "wrong unit",
        "empty folder",
        "text",
    ],
)
def test_a_bad_image_is_one_readable_line_and_leaves_nothing(files, tmp_path, capsys, kind):
    path = bad_image(kind, tmp_path)
    before = sorted(tmp_path.iterdir())
    assert main(segment_arguments(files, tmp_path / "out" / "a.nrrd", "--progress", "none", ct=path)) == 2
    assert path.name in error_line(capsys)
    assert sorted(tmp_path.iterdir()) == before


def test_a_truncated_image_in_a_process(files, tmp_path):
    path = bad_image("truncated", tmp_path)
    done = segdl(*segment_arguments(files, tmp_path / "a.nrrd", "--progress", "none", ct=path))
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "truncated.nrrd" in done.stderr


@pytest.mark.parametrize("fault", ["weights", "card", "no card", "no weights", "missing"])
def test_a_broken_package_is_one_readable_line(files, tmp_path, capsys, fault):
    folder = write_tiny_package(tmp_path / "broken")
    if fault == "weights":
        (folder / "weights.safetensors").write_bytes(b"x" * 100)
    elif fault == "card":
        (folder / "model.json").write_text(json.dumps(tiny_card(labels="none")))
    elif fault == "no card":
        (folder / "model.json").unlink()
    elif fault == "no weights":
        (folder / "weights.safetensors").unlink()
    else:
        folder = tmp_path / "nowhere"
    assert main(segment_arguments(files, tmp_path / "a.nrrd", "--progress", "none", model=folder)) == 2
    error_line(capsys)
    assert not (tmp_path / "a.nrrd").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (["--input", "PET=x.nrrd"], "PET=x.nrrd"),
        (["--samples", "-1"], "samples"),
        (["--samples", "x"], "--samples"),
        (["--device", "cuda:99"], "cuda:99"),
        (["--device", "abacus"], "abacus"),
        (["--threshold", "2"], "threshold"),
        (["--roi", "1,2,3"], "--roi"),
        (["--roi", "900,900,900,910,910,910"], "region"),
        (["--report", "report.txt"], "report.txt"),
        (["--uncertainty", "u.nrrd", "--samples", "0"], "--samples"),
        (["--mean", "none/none/m.nrrd"], "none/none"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_a_wrong_option_is_named(files, tmp_path, capsys, monkeypatch, change, told):
    monkeypatch.chdir(tmp_path)
    assert main(segment_arguments(files, tmp_path / "a.nrrd", "--progress", "none", *change)) == 2
    assert told in error_line(capsys)
    assert not any(tmp_path.glob("*.nrrd"))


def test_a_missing_channel_is_named(tmp_path, files, capsys):
    inputs = [
        *tiny_card()["inputs"],
        {"name": "PET", "modality": "PT", "unit": "SUV", "required": True},
    ]
    network = {"name": "lung_unet2d", "options": {"filters": 2, "depth": 3, "in_channels": 2}}
    folder = write_tiny_package(tmp_path / "two", inputs=inputs, network=network)
    assert main(segment_arguments(files, tmp_path / "a.nrrd", "--progress", "none", model=folder)) == 2
    assert "PET" in error_line(capsys)


def test_an_output_that_is_the_input_is_refused(files, tmp_path, capsys):
    ct = write_tiny_ct(tmp_path / "ct.nrrd")
    content = ct.read_bytes()
    assert main(segment_arguments(files, ct, "--progress", "none", ct=ct)) == 2
    assert "is an input" in error_line(capsys)
    assert ct.read_bytes() == content


def test_an_unexpected_error_is_one_line_and_a_traceback_only_with_debug(
    files, tmp_path, capsys, monkeypatch
):
    import SegDLEngine.pipeline

    def fail(*arguments):
        raise ZeroDivisionError("a bug\nin two lines")

    monkeypatch.setattr(SegDLEngine.pipeline, "segment", fail)
    arguments = segment_arguments(files, tmp_path / "a.nrrd", "--progress", "none")
    assert main(arguments) == 1
    assert "ZeroDivisionError: a bug in two lines" in error_line(capsys)
    assert main([*arguments, "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_missing_package_is_named(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "SegDLEngine.pipeline", None)
    assert main(segment_arguments(files, tmp_path / "a.nrrd", "--progress", "none")) == 1
    assert "is missing" in error_line(capsys)
