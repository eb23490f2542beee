"""``segdl lungs``: files, report, comparison with a reference, and errors in one line."""

import json

import numpy as np
import pytest
from lung_phantom import lung_phantom
from SegDLEngine.command_line.main import main
from SegDLEngine.images.image import Image
from SegDLEngine.images.reading import read_labels
from SegDLEngine.images.writing import write_image


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lungs")
    phantom = lung_phantom()
    write_image(phantom.ct, folder / "ct.nrrd")
    labels = phantom.lungs.astype(np.uint8)
    labels[:, :, 256:] *= 2
    write_image(Image(labels, phantom.ct.grid), folder / "labels.nrrd")
    return folder, phantom


def test_mask_lungs_and_report_are_written_and_summed_up(files, tmp_path, capsys):
    folder, phantom = files
    region, lungs, report = tmp_path / "region.nii.gz", tmp_path / "lungs.nrrd", tmp_path / "report.json"
    arguments = [
        "lungs",
        str(folder / "ct.nrrd"),
        str(region),
        "--lungs",
        str(lungs),
        "--report",
        str(report),
    ]
    arguments += ["--reference", str(folder / "labels.nrrd")]
    arguments += ["--reference-values", "1,2", "--reference-values", "1"]
    assert main(arguments) == 0
    mask, before = read_labels(region), read_labels(lungs)
    assert mask.grid.matches(phantom.ct.grid)
    assert np.array_equal((mask.array > 0) & (before.array > 0), before.array > 0)
    data = json.loads(report.read_text())
    both, left = data["reference"]
    assert both["coverage_after"] == 1
    assert both["dice_before"] >= 0.98
    assert both["dice_after"] == pytest.approx(2 * 320064 / (320064 + np.count_nonzero(mask.array)), abs=1e-5)
    assert left["values"] == [1]
    assert left["coverage_by_value"] == {"1": 1.0}
    assert data["couch_found"] is True
    assert data["method"] == "classical"
    printed = capsys.readouterr().out
    assert "couch found" in printed
    assert "spine axis in 12 slices" in printed
    assert "coverage 1.0000" in printed


def test_another_method_is_refused_with_what_there_is(files, tmp_path, capsys):
    folder, _ = files
    output = tmp_path / "region.nrrd"
    assert main(["lungs", str(folder / "ct.nrrd"), str(output), "--method", "magic"]) == 2
    error = capsys.readouterr().err
    assert "'magic'" in error
    assert "classical, watershed, unet" in error
    assert len(error.strip().splitlines()) == 1
    assert not output.exists()


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        (["region.txt"], "region.txt"),
        (["nowhere/deep/region.nrrd"], "nowhere"),
        (["region.nrrd", "--report", "report.txt"], "report.txt"),
        (["region.nrrd", "--reference-values", "1"], "--reference"),
        (["region.nrrd", "--reference", "absent.nrrd"], "absent.nrrd"),
    ],
)
def test_wrong_paths_are_refused_before_any_work(files, tmp_path, monkeypatch, extra, named, capsys):
    folder, _ = files
    monkeypatch.chdir(tmp_path)
    assert main(["lungs", str(folder / "ct.nrrd"), *extra]) == 2
    assert named in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_reference_on_another_grid_or_without_the_values_is_refused(files, tmp_path, capsys):
    folder, phantom = files
    other = tmp_path / "other.nrrd"
    write_image(Image(np.ones((2, 3, 4), np.uint8), type(phantom.ct.grid)((4, 3, 2))), other)
    output = tmp_path / "region.nrrd"
    command = ["lungs", str(folder / "ct.nrrd"), str(output), "--reference"]
    assert main([*command, str(other)]) == 2
    assert "grid" in capsys.readouterr().err
    assert main([*command, str(folder / "labels.nrrd"), "--reference-values", "7"]) == 2
    assert "7" in capsys.readouterr().err
    assert not output.exists()


def test_an_image_that_is_no_ct_is_refused(files, tmp_path, capsys):
    _, phantom = files
    path = tmp_path / "scaled.nrrd"
    write_image(phantom.ct.with_array((phantom.ct.array > 0).astype(np.uint8)), path)
    assert main(["lungs", str(path), str(tmp_path / "region.nrrd")]) == 2
    assert "CT" in capsys.readouterr().err


def test_a_ct_without_lungs_warns_and_writes_an_empty_mask(files, tmp_path, capsys):
    _, phantom = files
    array = phantom.ct.array.copy()
    array[phantom.lungs | phantom.trachea] = 40
    write_image(phantom.ct.with_array(array), tmp_path / "ct.nrrd")
    assert main(["lungs", str(tmp_path / "ct.nrrd"), str(tmp_path / "region.nrrd")]) == 0
    assert "No lung was found" in capsys.readouterr().err
    assert not read_labels(tmp_path / "region.nrrd").array.any()
