"""``segdl-train pretrain``: from CT without labels to weights that a training starts from."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from SegDLEngine.errors import Cancelled, InputError
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.images.writing import write_image
from SegDLEngine.protocol import Reporter
from SegDLTrainingLib.checkpoint import read_tensors
from SegDLTrainingLib.command_line import main
from SegDLTrainingLib.fit import fit
from SegDLTrainingLib.recipes import Recipe, load_recipe
from SegDLTrainingLib.restoration.task import Restoration
from SegDLTrainingLib.volumes import PreparedVolume
from test_resume import check_equal, stopping_after
from tiny_training import fit_arguments, smallest_recipe, write_job

pytestmark = pytest.mark.usefixtures("one_thread")


def tiny_restoration() -> Recipe:
    data = copy.deepcopy(load_recipe("003-genesis-restoration").data)
    data["card"]["network"]["options"] = {"filters": 2}
    data["sampling"].update(patch=[16, 16, 16], batch=2)
    data["restoration"]["blocks"] = 20
    data["optimiser"] = {"name": "adam"}
    data["schedule"] = {"name": "constant", "start": 0.02}
    data["training"].update(epochs=3, steps_per_epoch=4, validation={"mode": "batches", "batches": 2})
    return Recipe(data)


def smooth(seed: int) -> np.ndarray:
    """A smooth pattern in 0..1, (20, 24, 24)."""
    rng = np.random.default_rng(seed)
    k, j, i = np.mgrid[:20, :24, :24] / 6 + rng.uniform(0, 6, 3).reshape(3, 1, 1, 1)
    return (0.5 + 0.3 * np.sin(i) * np.cos(j) + 0.1 * np.sin(k)).astype(np.float32)


def volumes(count: int) -> list[PreparedVolume]:
    return [volume(smooth(seed), str(seed)) for seed in range(count)]


def volume(image: np.ndarray, name: str) -> PreparedVolume:
    labels = np.zeros(image.shape, np.uint8)
    return PreparedVolume(image[None].astype(np.float16), labels, (1.0, 1.0, 1.0), name)


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> Path:
    """Three folders with a CT in HU each; one has an outline too, of a value that no card knows."""
    folder = tmp_path_factory.mktemp("unlabelled")
    grid = Grid((24, 24, 20), (1.0, 1.0, 2.0))
    for seed in range(3):
        (folder / f"patient{seed}").mkdir()
        hu = np.rint(smooth(seed) * 2000 - 1000).astype(np.int16)
        write_image(Image(hu, grid, "CT", "HU"), folder / f"patient{seed}" / "ct.nrrd")
    write_image(Image((hu > 0).astype(np.uint8) * 7, grid), folder / "patient2" / "labels.nrrd")
    return folder


def pretrain_arguments(folder: Path, data: Path, output: Path) -> list[str]:
    recipe = folder / "restoration.json"
    recipe.write_text(json.dumps(tiny_restoration().data), encoding="utf-8")
    machine = ["--workers", "1", "--device", "cpu", "--threads", "1", "--progress", "json"]
    return ["pretrain", "--recipe", str(recipe), "--data", str(data), "--output", str(output), *machine]


def test_the_report_s_constants_are_those_of_the_recipe():
    recipe = load_recipe("003-genesis-restoration")
    chances = [
        recipe["restoration"][key] for key in ("flip", "shuffling", "intensity", "painting", "inpainting")
    ]
    assert chances == [0.4, 0.5, 0.9, 0.9, 0.2]
    assert recipe["sampling"]["patch"] == [64, 64, 32] and recipe["sampling"]["batch"] == 6
    assert recipe["optimiser"]["name"] == "sgd" and recipe["schedule"]["start"] == 1.0


def test_restoration_continues_exactly(tmp_path):
    recipe = tiny_restoration()
    arguments = (recipe, volumes(3), volumes(1))
    whole = fit(*arguments, tmp_path / "whole", Reporter(), make_task=Restoration)
    for steps in (3, 6):
        with pytest.raises(Cancelled):
            fit(*arguments, tmp_path / "parts", stopping_after(steps), make_task=Restoration)
    check_equal(whole, fit(*arguments, tmp_path / "parts", Reporter(), make_task=Restoration))
    assert whole.kept["validation_loss"] == min(row["validation_loss"] for row in whole.history)


def test_restoration_learns(tmp_path):
    recipe = tiny_restoration()
    recipe["training"]["epochs"] = 8
    history = fit(recipe, volumes(3), volumes(1), tmp_path / "fit", Reporter(), make_task=Restoration).history
    assert history[-1]["validation_loss"] < 0.5 * history[0]["validation_loss"]


def test_weights_of_a_pretraining_start_a_2d_segmentation(cases, tmp_path, capsys):
    output = tmp_path / "genesis.safetensors"
    assert main(pretrain_arguments(tmp_path, cases, output)) == 0, capsys.readouterr().err
    facts = json.loads(output.with_suffix(".json").read_text())
    assert facts["cases"] == {"validation": 1, "training": 2} and facts["network"]["name"] == "genesis_unet3d"
    assert (tmp_path / "genesis-training" / "checkpoint.safetensors").is_file()
    state = read_tensors(output)[0]

    recipe = smallest_recipe(
        training={"epochs": 1, "steps_per_epoch": 1, "keep": "last", "weight_average": 0.0}
    )
    recipe.card["network"] = {"name": "genesis_unet2d", "options": {"filters": 2}}
    recipe.data["training"]["trainable"] = ["up_*", "out_tr*"]
    recipe.data["transfer"] = {"fresh": ["out_tr"]}
    job = write_job(tmp_path, recipe)
    assert main([*fit_arguments(job, tmp_path / "model"), "--start-from", str(output)]) == 0
    kept = read_tensors(next((tmp_path / "model-training").glob("kept-*")))[0]
    name = "down_tr64.ops.0.conv1.weight"
    assert torch.equal(kept[name], state[name].sum(dim=2)), "the frozen encoder is the flattened one"
    name = "down_tr64.ops.0.bn1.running_mean"
    assert not torch.equal(kept[name], state[name]), "but normalises as the new cases need it"
    assert json.loads((tmp_path / "model" / "model.json").read_text())["training"]["started_from"]


def test_generated_thoraxes_need_no_data(tmp_path, capsys):
    recipe = tiny_restoration()
    thoraxes = load_recipe("003-genesis-restoration-thoraxes")["data"]
    parts = {"training": {"first_seed": 1, "count": 1}, "validation": {"first_seed": 2, "count": 1}}
    size = {"spacing": [12.0, 12.0, 12.0], "cropped_share": 0.0}
    recipe.data["data"] = {**thoraxes, **size, **parts}
    recipe.data["training"].update(epochs=1, steps_per_epoch=1)
    path, output = tmp_path / "recipe.json", tmp_path / "weights.safetensors"
    path.write_text(json.dumps(recipe.data), encoding="utf-8")
    machine = ["--workers", "1", "--device", "cpu", "--threads", "1", "--progress", "none"]
    assert main(["pretrain", "--recipe", str(path), "--output", str(output), *machine]) == 0
    assert read_tensors(output)[0]["out_tr.final_conv.weight"].shape == (1, 4, 1, 1, 1)


def test_what_cannot_be_done_is_told(cases, tmp_path, capsys):
    arguments = pretrain_arguments(tmp_path, cases, tmp_path / "folder")
    assert main(arguments) == 2
    assert "extension .safetensors" in capsys.readouterr().err
    assert main(["fit", *arguments[1:]]) == 2
    assert "is for segdl-train pretrain" in capsys.readouterr().err
    job = write_job(tmp_path, smallest_recipe())
    assert main(["pretrain", *fit_arguments(job, tmp_path / "w.safetensors")[1:]]) == 2
    assert "is for segdl-train fit" in capsys.readouterr().err
    without = ["pretrain", "--recipe", "003-genesis-restoration", "--output", str(tmp_path / "w.safetensors")]
    assert main([*without, "--progress", "none"]) == 2
    assert "--data" in capsys.readouterr().err


def test_values_beyond_0_to_1_and_2d_networks_are_refused(tmp_path):
    bad = PreparedVolume(
        np.full((1, 16, 16, 16), 2, np.float16), np.zeros((16, 16, 16), np.uint8), (1, 1, 1), "a"
    )
    with pytest.raises(InputError, match="'a' has prepared values from 2 to 2"):
        fit(tiny_restoration(), [bad], [], tmp_path, Reporter(), make_task=Restoration)
    flat = tiny_restoration()
    flat.card["network"]["name"] = "genesis_unet2d"
    with pytest.raises(InputError, match="genesis_unet2d' cannot restore cubes"):
        fit(flat, volumes(1), [], tmp_path, Reporter(), make_task=Restoration)
