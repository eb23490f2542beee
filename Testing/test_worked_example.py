"""README's worked example on real images: from ``segdl-train fit`` to the segments of a scene."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from realdata import real_file, requires_data
from SegDLEngine.images.reading import read_image, read_labels
from SegDLEngine.images.segmentation_file import Segmentation, read_segmentation
from SegDLEngine.models.catalogue import load_model
from SegDLTrainingLib.command_line import main as segdl_train

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "SegDL" / "Resources" / "Scripts" / "segdl_batch.py"
BRATS = {
    "FLAIR": "Flair_subtrMeanDivStd.nii.gz", "T1c": "T1c_subtrMeanDivStd.nii.gz",
    "labels": "OTMultiClass.nii.gz",
}  # fmt: skip
TCGA = {"FLAIR": "fla.nii.gz", "T1c": "t1c.nii.gz", "labels": "seg_fusion_mav.nii.gz"}
CASES = {"TCGA-FG-6692": TCGA, "brats_2013_pat0001_1": BRATS, "brats_2013_pat0005_1": BRATS}
# Four of the recipe's twelve epochs; seed and names of the cases decide that this one is not trained on.
EPOCHS, UNSEEN = 4, "brats_2013_pat0001_1"

pytestmark = [requires_data, pytest.mark.real_data, pytest.mark.host]


def write_table(path: Path, names: list[str], columns: list[str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["case", *columns])
        for name in names:
            table.writerow([name, *(real_file("brain", name, CASES[name][column]) for column in columns)])
    return path


def fit(recipe: str, cases: Path, *more: str) -> Path:
    """The package that ``segdl-train fit`` writes beside the table of cases."""
    output = cases.parent / "my-model"
    arguments = ["--recipe", recipe, "--data", str(cases), "--output", str(output), *more]
    options = ["--device", "cpu", "--workers", "2", "--progress", "none"]
    assert segdl_train(["fit", *arguments, *options]) == 0
    return output


def segmented_in_a_scene(package: Path, table: Path, case: str) -> tuple[Segmentation, list[str]]:
    """The segmentation of the case that the batch script writes on the host, and the files of its scene."""
    output = table.parent / "results"
    options = ["--model", package, "--cases", table, "--output", output, "--samples", "0", "--scene"]
    done = subprocess.run(
        [sys.executable, "-m", "host", "--no-qt", str(SCRIPT), "--", *map(str, options)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "Testing")},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with zipfile.ZipFile(output / f"{case}.mrb") as scene:
        names = [Path(name).name for name in scene.namelist()]
    return read_segmentation(output / f"{case}.seg.nrrd"), names


def dice(found: np.ndarray, truth: np.ndarray) -> float:
    return 2 * np.count_nonzero(found & truth) / (np.count_nonzero(found) + np.count_nonzero(truth))


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("example")
    cases = write_table(folder / "cases.csv", list(CASES), ["FLAIR", "T1c", "labels"])
    return fit("example-brain-tumor", cases, "--epochs", str(EPOCHS))


def test_the_training_measures_itself_on_a_patient_it_has_not_seen(package):
    training = load_model(package).card.data["training"]
    assert training["validation"]["Whole brain tumour"]["cases"] == 1
    assert training["validation"]["Whole brain tumour"]["dice_mean"] > 0.2


def test_the_package_segments_the_unseen_patient_into_a_scene(package, tmp_path):
    pytest.importorskip("slicer")
    table = write_table(tmp_path / "new.csv", [UNSEEN], ["FLAIR", "T1c"])
    segmentation, names = segmented_in_a_scene(package, table, UNSEEN)
    assert [segment["name"] for segment in segmentation.segments] == ["Whole brain tumour"]
    truth = read_image(real_file("brain", UNSEEN, BRATS["labels"])).array > 0
    assert dice(segmentation.labels.array > 0, truth) > 0.45
    assert any(name.endswith(".mrml") for name in names) and any(name.endswith(".seg.nrrd") for name in names)


def test_a_lung_tumour_from_chest_ct_to_a_scene(tmp_path):
    """The patient segmented is one of the two that were trained on: two patients do not make a model."""
    pytest.importorskip("slicer")
    ct = real_file("lung", "LUNG1-001", "ct_small_2x2x3.nii.gz")
    labels = real_file("lung", "LUNG1-001", "labels_small_2x2x3.nii.gz")
    lungs_and_cord = {"1": 0, "2": 0, "3": 1, "4": 0}
    rows = [
        {"name": "LUNG1-001", "inputs": {"CT": str(ct)}, "labels": str(labels), "label_map": lungs_and_cord}
    ]
    for name in ("phantom_pat2", "phantom_pat3"):
        files = [str(real_file("lung", name, file)) for file in ("ct.nii.gz", "gtv.nii.gz")]
        rows.append({"name": name, "inputs": {"CT": files[0]}, "labels": files[1]})
    cases = tmp_path / "cases.json"
    cases.write_text(json.dumps({"schema": "segdl-cases-1", "cases": rows}), encoding="utf-8")
    table = tmp_path / "new.csv"
    table.write_text(f"case,CT\nLUNG1-001,{ct}\n", encoding="utf-8")
    segmentation, names = segmented_in_a_scene(
        fit("example-lung-tumor", cases, "--epochs", "5"), table, "LUNG1-001"
    )
    assert dice(segmentation.labels.array > 0, read_labels(labels).array == 3) > 0.3
    assert any(name.endswith(".mrml") for name in names)
