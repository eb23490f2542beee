"""``segdl-train semi-supervised`` end to end: boxes, pseudo-labels, histogram, training, resume, package."""

import copy
import csv
import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from SegDLEngine.errors import Cancelled, InputError
from SegDLEngine.models.catalogue import load_model
from SegDLEngine.models.writing import write_weights
from SegDLEngine.networks.registry import build_network
from SegDLEngine.protocol import Reporter
from SegDLTrainingLib.checkpoint import read_tensors
from SegDLTrainingLib.command_line import main
from SegDLTrainingLib.fit import fit
from SegDLTrainingLib.package import export_package
from SegDLTrainingLib.recipes import Recipe, licence_text, load_recipe
from SegDLTrainingLib.semi_supervised.labelling import PseudoLabelled, make_pseudo_labels
from SegDLTrainingLib.semi_supervised.patches import cut_patches
from SegDLTrainingLib.semi_supervised.settings import SemiSupervisedSettings
from SegDLTrainingLib.semi_supervised.task import SemiSupervised
from test_resume import check_equal, stopping_after
from tiny_training import balls, fit_arguments, smallest_recipe, write_job

CONSTANTS = {
    "patch": 12, "padded": 16, "dictionary": 6, "queries": 4, "dictionary_margin": 1, "query_margin": 2,
    "minimum_voxels": 5, "lowest": 0.5, "highest": 1.0, "ramp_up_epochs": 1,
}  # fmt: skip
NETWORK = {"name": "genesis_unet2d", "options": {"filters": 2}}


pytestmark = pytest.mark.usefixtures("one_thread")


def tiny_recipe(**constants) -> Recipe:
    recipe = smallest_recipe(
        sampling={"mode": "patches", "patch": [16, 16], "foreground_share": 0.5},
        training={"epochs": 2, "steps_per_epoch": 3, "keep": "last"},
    )
    data = copy.deepcopy(recipe.data)
    data["card"]["network"] = NETWORK
    data["augmentation"] = []
    data["task"] = "semi-supervised"
    data["semi_supervised"] = {**CONSTANTS, **constants}
    return Recipe(data)


def start_weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return build_network(NETWORK["name"], NETWORK["options"]).state_dict()


def labelled_patches(folder: Path, recipe: Recipe) -> PseudoLabelled:
    network = build_network(NETWORK["name"], NETWORK["options"])
    network.load_state_dict(start_weights())
    settings = SemiSupervisedSettings.of(recipe["semi_supervised"])
    cases = balls(4)
    return make_pseudo_labels(network, cases[:2], cases[2:], settings, 0, "cpu", folder, Reporter())


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_recipe_has_the_report_s_constants():
    recipe = load_recipe("003-semi-supervised")
    assert SemiSupervisedSettings.of(recipe["semi_supervised"]) == SemiSupervisedSettings()
    assert load_recipe("003-pretrain-lung-tumour").card["network"] == recipe.card["network"]


def test_patches_lie_in_larger_boxes_and_hold_smaller_ones():
    cases = balls(2)
    for side in (4, 14):
        patches = cut_patches(cases, 0, 8, side, seed=1)
        assert len(patches) == 16 and patches.images.shape == (16, 1, side, side)
        again = cut_patches(cases, 0, 8, side, seed=1)
        assert np.array_equal(patches.images, again.images)
        if side == 14:
            assert patches.masks.any(axis=(1, 2)).all()
    assert len(cut_patches([cases[0]], 0, 8, 4, seed=2)) == 8


def test_similarities_are_written_and_pseudo_labels_read_back(tmp_path):
    found = labelled_patches(tmp_path, tiny_recipe())
    rows = rows_of(tmp_path / "similarity.csv")
    assert [row["case"] for row in rows] == found.cases == ["2"] * 4 + ["3"] * 4
    weighted = [number for number, row in enumerate(rows) if row["weight"]]
    assert weighted == found.labels.queries.tolist()
    assert all(0.5 <= float(rows[number]["similarity"]) <= 1 for number in weighted)
    assert sum(int(row["queries"]) for row in rows_of(tmp_path / "similarity-histogram.csv")) == 8
    found.write(tmp_path / "labels.safetensors", "key")
    again = PseudoLabelled.read(tmp_path / "labels.safetensors", "key")
    assert np.array_equal(again.queries, found.queries) and again.cases == found.cases
    assert np.array_equal(again.labels.masks, found.labels.masks)
    assert PseudoLabelled.read(tmp_path / "labels.safetensors", "other") is None
    pytest.importorskip("matplotlib", reason="the picture needs matplotlib")
    assert (tmp_path / "similarity.png").read_bytes().startswith(b"\x89PNG")


def test_a_rule_that_labels_nothing_says_what_the_similarities_are(tmp_path):
    with pytest.raises(InputError, match=r"labels no patch: the best similarities lie between [01]\.\d+ and"):
        labelled_patches(tmp_path, tiny_recipe(lowest=0.0, highest=0.01))
    assert (tmp_path / "similarity-histogram.csv").is_file()


@pytest.mark.parametrize("result", ["teacher", "student"])
def test_semi_supervised_training_continues_exactly(tmp_path, result):
    recipe = tiny_recipe(result=result)
    task = functools.partial(SemiSupervised, labelled_patches(tmp_path, recipe))
    cases = (balls(2), balls(1))
    whole = fit(recipe, *cases, tmp_path / "whole", Reporter(), None, start_weights(), make_task=task)
    with pytest.raises(Cancelled):
        fit(recipe, *cases, tmp_path / "parts", stopping_after(4), None, start_weights(), make_task=task)
    again = fit(recipe, *cases, tmp_path / "parts", Reporter(), None, start_weights(), make_task=task)
    check_equal(whole, again)
    assert "validation_dice" in whole.kept
    stored = read_tensors(tmp_path / "whole" / "checkpoint.safetensors")[0]
    for name, value in whole.state.items():
        part = "average" if result == "teacher" else "network"
        assert torch.equal(value, stored[f"{part}.{name}"])
    assert not torch.equal(
        stored["average.out_tr.final_conv.weight"], stored["network.out_tr.final_conv.weight"]
    )


def test_patches_without_labels_do_not_change_how_labelled_ones_are_normalised(tmp_path):
    """With weights of 0 for all else the student is that of a training with the labels alone."""
    recipe = tiny_recipe(pseudo_weight=0.0, consistency_weight=0.0, result="student")
    task = functools.partial(SemiSupervised, labelled_patches(tmp_path, recipe))
    cases = (balls(2), balls(1))
    mixed = fit(recipe, *cases, tmp_path / "mixed", Reporter(), None, start_weights(), make_task=task)
    alone = copy.deepcopy(recipe.data)
    del alone["semi_supervised"], alone["task"]
    alone["training"]["weight_average"] = 0.0
    labels = fit(Recipe(alone), *cases, tmp_path / "labels", Reporter(), None, start_weights())
    for name, value in labels.state.items():
        torch.testing.assert_close(mixed.state[name], value, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def coarse_model(tmp_path_factory) -> Path:
    """A 3D network that finds what is bright."""
    card = copy.deepcopy(smallest_recipe().card)
    card["network"] = {"name": "genesis_unet3d", "options": {"filters": 2}}
    card["preprocessing"] = [{"step": "scale", "offset": 500, "factor": 0.001}]
    card["inference"] = {"mode": "windows", "patch": [16, 16, 16], "activation": "sigmoid", "threshold": 0.5}
    card["postprocessing"] = []
    network = build_network(**card["network"])
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        # The first unit of the first level hands the input on through the last skip connection.
        for unit in (network.down_tr64.ops[0], network.down_tr64.ops[1]):
            unit.conv1.weight[0, 0, 1, 1, 1] = unit.bn1.weight[0] = 1
        first, second = network.up_tr64.ops
        first.conv1.weight[0, 8, 1, 1, 1] = first.bn1.weight[0] = 1
        second.conv1.weight[0, 0, 1, 1, 1] = second.bn1.weight[0] = 1
        network.out_tr.final_conv.weight[0, 0] = 20
        network.out_tr.final_conv.bias[0] = -8
    folder = tmp_path_factory.mktemp("coarse") / "model"
    export_package(network.state_dict(), card, folder, training={}, licence_file=licence_text())
    return folder


def test_from_cases_to_a_package_and_again_with_the_same_weights(coarse_model, tmp_path, capsys):
    job = write_job(tmp_path, tiny_recipe())
    others = tmp_path / "others.csv"
    rows = [f"other{number},{number}.nrrd" for number in (3, 4)]
    others.write_text("\n".join(["case,CT", *rows]) + "\n", encoding="utf-8")
    write_weights(start_weights(), tmp_path / "start.safetensors")
    given = ["--unlabelled", str(others), "--coarse", str(coarse_model)]

    def command(output: Path) -> list[str]:
        return ["semi-supervised", *fit_arguments(job, output)[1:], *given]

    assert main(command(tmp_path / "model")) == 2
    assert "--start-from" in capsys.readouterr().err
    given += ["--start-from", str(tmp_path / "start.safetensors")]
    for name in ("model", "again"):
        assert main(command(tmp_path / name)) == 0, capsys.readouterr().err
    training = load_model(tmp_path / "model").card.data["training"]
    facts = training["semi_supervised"]
    assert facts["unlabelled_cases"] == 2 and facts["patches"] == 8 and facts["pseudo_labelled"] > 0
    assert facts["result"] == "teacher" and training["started_from"]
    one, other = (read_tensors(tmp_path / name / "weights.safetensors")[0] for name in ("model", "again"))
    assert all(torch.equal(one[key], other[key]) for key in one)
    working = tmp_path / "model-training"
    assert {"similarity.csv", "similarity-histogram.csv", "pseudo-labels.safetensors"} <= {
        path.name for path in working.iterdir()
    }

    write_weights({key: value + 1 for key, value in start_weights().items()}, tmp_path / "start.safetensors")
    assert main(command(tmp_path / "model")) == 2
    assert "the starting weights changed" in capsys.readouterr().err
    given[given.index("--coarse") + 1] = "brain-tumor-res-unet2d-demo"
    assert main(command(tmp_path / "third")) == 2
    assert "coarse model cannot segment 'other3'" in capsys.readouterr().err


def test_what_cannot_be_done_is_told(tmp_path):
    material = labelled_patches(tmp_path, tiny_recipe())
    task = functools.partial(SemiSupervised, material)
    wrong = tiny_recipe(padded=24)
    with pytest.raises(InputError, match=r"sampling.patch \[16, 16\] is not .*\[24, 24\]"):
        fit(wrong, balls(2), balls(1), tmp_path / "a", Reporter(), None, start_weights(), make_task=task)
    with pytest.raises(InputError, match=r"semi_supervised\.rule 'worst' is unknown"):
        SemiSupervisedSettings.of({"rule": "worst"})
    with pytest.raises(InputError, match=r"semi_supervised: .*'patches'"):
        SemiSupervisedSettings.of({"patches": 3})
