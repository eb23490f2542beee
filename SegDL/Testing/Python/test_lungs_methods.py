"""``segdl lungs`` by watershed and U-Net, and the comparison of the three masks."""

import csv
import json

import numpy as np
import pytest
from lung_models import LUNGS, write_lungs_by_threshold
from lung_phantom import lung_phantom
from SegDLEngine.command_line.main import main
from SegDLEngine.images.image import Image
from SegDLEngine.images.reading import read_labels
from SegDLEngine.images.writing import write_image
from SegDLEngine.preprocessing.lungs.methods import find_lungs


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a CT, its lungs as labels, and models with and without lung weights; the CT itself."""
    folder = tmp_path_factory.mktemp("lungs")
    phantom = lung_phantom()
    grid = phantom.ct.grid.crop((0, 0, 5), (512, 512, 3))
    ct = Image(phantom.ct.array[5:8], grid, "CT", "HU")
    write_image(ct, folder / "ct.nrrd")
    write_image(Image(phantom.lungs[5:8].astype(np.uint8), grid), folder / "labels.nrrd")
    write_lungs_by_threshold(folder / "models" / LUNGS)
    (folder / "empty").mkdir()
    return folder, ct


def test_watershed_lungs_are_written_with_a_report_and_compared(files, tmp_path, capsys):
    folder, ct = files
    output, report = tmp_path / "lungs.nrrd", tmp_path / "report.json"
    command = ["lungs", str(folder / "ct.nrrd"), str(output), "--method", "watershed"]
    assert main([*command, "--report", str(report), "--reference", str(folder / "labels.nrrd")]) == 0
    mask = read_labels(output)
    assert mask.grid.matches(ct.grid)
    assert np.array_equal(mask.array, find_lungs(ct, "watershed").mask.array)
    data = json.loads(report.read_text())
    assert data["method"] == "watershed"
    assert data["lungs_ml"] == data["mask_ml"] == round(np.count_nonzero(mask.array) / 1000, 2)
    assert data["reference"][0]["coverage_after"] == 1
    assert data["reference"][0]["dice_after"] == pytest.approx(0.956, abs=2e-3)
    assert "coverage 1.0000" in capsys.readouterr().out


def test_unet_lungs_need_weights_and_tell_the_lungs_apart(files, tmp_path, monkeypatch, capsys):
    folder, _ = files
    output, lungs = tmp_path / "mask.nrrd", tmp_path / "labels.nrrd"
    command = ["lungs", str(folder / "ct.nrrd"), str(output), "--method", "unet", "--lungs", str(lungs)]
    monkeypatch.setenv("SEGDL_MODELS", str(folder / "empty"))
    assert main(command) == 2
    error = capsys.readouterr().err
    assert LUNGS in error and "segdl models" in error and "watershed" in error
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("SEGDL_MODELS", str(folder / "models"))
    assert main([*command, "--device", "cpu"]) == 0
    assert set(np.unique(read_labels(lungs).array)) == {0, 1, 2}
    assert set(np.unique(read_labels(output).array)) == {0, 1}


def test_the_three_masks_are_compared_in_a_table(files, tmp_path, monkeypatch, capsys):
    folder, ct = files
    monkeypatch.setenv("SEGDL_MODELS", str(folder / "models"))
    command = ["lungs", str(folder / "ct.nrrd"), "--compare", "--device", "cpu"]
    command += ["--reference", str(folder / "labels.nrrd"), "--reference-values", "1"]
    table = tmp_path / "table.csv"
    assert main([*command[:2], str(table), *command[2:]]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert "coverage" in printed[0]
    assert [line.split("  ")[0] for line in printed[1:5]] == [
        "classical",
        "classical region",
        "watershed",
        "unet",
    ]
    assert main([*command, "--json"]) == 0
    rows = {row["mask"]: row for row in json.loads(capsys.readouterr().out)}
    with table.open(newline="") as stream:
        written = {row["mask"]: row for row in csv.DictReader(stream)}
    for name, row in rows.items():
        assert float(written[name]["lungs_ml"]) == row["lungs_ml"]
        assert float(written[name]["dice_watershed"]) == row["dice_watershed"]
    masks = {name: find_lungs(ct, name, device="cpu").lungs.array > 0 for name in ("classical", "watershed")}
    both = np.count_nonzero(masks["classical"] & masks["watershed"])
    total = sum(np.count_nonzero(mask) for mask in masks.values())
    assert rows["classical"]["dice_watershed"] == pytest.approx(2 * both / total, abs=1e-6)
    assert rows["watershed"]["dice_classical"] == rows["classical"]["dice_watershed"]
    assert rows["unet"]["dice_unet"] == rows["classical"]["dice_classical"] == 1
    assert rows["classical region"]["coverage_reference"] == 1
    assert rows["watershed"]["lungs_ml"] == round(np.count_nonzero(masks["watershed"]) / 1000, 2)
    assert rows["unet"]["dice_reference"] < 0.9
    assert all(row["seconds"] > 0 for row in rows.values())


def test_a_method_without_weights_is_a_note_in_the_comparison(files, tmp_path, monkeypatch, capsys):
    folder, _ = files
    monkeypatch.setenv("SEGDL_MODELS", str(folder / "empty"))
    table = tmp_path / "table.json"
    assert main(["lungs", str(folder / "ct.nrrd"), str(table), "--compare"]) == 0
    printed = capsys.readouterr().out
    assert "coverage" not in printed
    assert f"unet: The lungs cannot be found by a U-Net: The weights of model '{LUNGS}'" in printed
    row = json.loads(table.read_text())[-1]
    assert (row["mask"], row["lungs_ml"], row["dice_watershed"]) == ("unet", None, None)


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        ([], "output"),
        (["mask.nrrd", "--json"], "--json"),
        (["mask.nrrd", "--compare"], "mask.nrrd"),
        (["--compare", "--lungs", "lungs.nrrd"], "--lungs"),
        (["--compare", "--report", "report.json"], "--report"),
        (
            ["--compare", "--reference", "a.nrrd", "--reference-values", "1", "--reference-values", "2"],
            "--reference-values",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(files, tmp_path, monkeypatch, extra, named, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["lungs", str(files[0] / "ct.nrrd"), *extra]) == 2
    assert named in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
