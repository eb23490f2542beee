"""nnU-Net v2 results folders as SegDL models: plans, steps, folds, and the labels that the network gives."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest
import torch
from bundles import ARGUMENTS, dataset_of, plans_of, refusal, write_fold, write_results
from SegDLEngine.command_line.main import main
from SegDLEngine.errors import ModelError
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.models.catalogue import load_model
from SegDLEngine.models.importers.nnunet_plans import configuration_of
from SegDLEngine.networks.nnunet_network import side_multiples
from SegDLEngine.networks.registry import build_network
from SegDLEngine.options import SegmentOptions
from SegDLEngine.pipeline import segment

MODEL = "nnunet-spleen-3d-fullres"


pytestmark = pytest.mark.usefixtures("own_models_folder")


def test_plans_in_the_order_of_the_axes():
    plan = configuration_of(plans_of(), "3d_child", "plans.json")
    assert plan.by_axis(plan.patch) == [12, 16, 8]
    assert plan.by_axis(plan.spacing) == [1.5, 1.0, 3.0]
    turned = configuration_of({**plans_of(), "transpose_forward": [2, 0, 1]}, "3d_fullres", "plans.json")
    assert turned.axes == ["i", "k", "j"]
    assert turned.by_axis(turned.patch) == [8, 12, 16]
    assert side_multiples(ARGUMENTS["strides"], 3) == [2, 4, 4]


def test_plans_of_the_first_form_name_the_same_network():
    old = plans_of()
    data = old["configurations"]["3d_fullres"]
    del data["architecture"]
    data |= {
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": 4,
        "unet_max_num_features": 6,
        "n_conv_per_stage_encoder": [1, 1, 1],
        "n_conv_per_stage_decoder": [1, 1],
        "conv_kernel_sizes": ARGUMENTS["kernel_sizes"],
        "pool_op_kernel_sizes": ARGUMENTS["strides"],
    }
    plan = configuration_of(old, "3d_fullres", "plans.json")
    assert plan.architecture == "PlainConvUNet"
    assert plan.arguments["features_per_stage"] == [4, 6, 6]
    assert (plan.arguments["conv_op"], plan.arguments["norm_op"]) == ("Conv3d", "InstanceNorm3d")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"previous_stage": "3d_lowres"}, "second stage of a cascade"),
        ({"normalization_schemes": ["MyNormalization"]}, "'MyNormalization' is not known"),
        ({"patch_size": None}, "lacks or misstates"),
        ({"architecture": {"network_class_name": "a.b.UMamba", "arch_kwargs": {}}}, "'UMamba' is not known"),
    ],
)
def test_plans_that_cannot_be_served_are_refused(changes, told):
    with pytest.raises(ModelError, match=told):
        configuration_of(plans_of(**changes), "3d_fullres", "plans.json")


def test_a_folder_without_checkpoints_is_refused(tmp_path, capsys):
    folder = write_results(tmp_path / "results", plans_of(), dataset_of())
    (folder / "fold_0").mkdir()
    assert "no fold has a checkpoint_final.pth" in refusal(capsys, folder)
    torch.save({"network_weights": {"a": torch.zeros(1)}}, folder / "fold_0" / "checkpoint_final.pth")
    assert "says nothing of its configuration" in refusal(capsys, folder)
    assert "no checkpoint of fold 3" in refusal(capsys, folder, "--folds", "3")
    assert not (tmp_path / "models").exists()


def test_the_package_that_is_missing_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "dynamic_network_architectures.architectures", None)
    folder = write_results(tmp_path / "results", plans_of(), dataset_of())
    write_fold(folder, "0", {"a": torch.zeros(1)})
    assert "pip install dynamic-network-architectures" in refusal(capsys, folder)


def unet(out_channels=3, seed=0):
    unets = pytest.importorskip(
        "dynamic_network_architectures.architectures.unet",
        reason="the package dynamic-network-architectures is not installed",
    )
    torch.manual_seed(seed)
    classes = {
        "conv_op": torch.nn.Conv3d,
        "norm_op": torch.nn.InstanceNorm3d,
        "nonlin": torch.nn.LeakyReLU,
    }
    network = unets.PlainConvUNet(
        input_channels=1, num_classes=out_channels, **{**ARGUMENTS, **classes}, deep_supervision=True
    )
    network.apply(network.initialize)
    return network


def answer(network, array):
    """Probabilities of a CT that is one window, as nnU-Net prepares it, with all mirror images."""
    tensor = torch.from_numpy((np.clip(array, -40, 190) - 90) / 45)[None, None].float()
    flips = [(), (2,), (3,), (4,), (2, 3), (2, 4), (3, 4), (2, 3, 4)]
    network.decoder.deep_supervision = False
    with torch.inference_mode():
        passes = [torch.softmax(network.eval()(tensor.flip(axes)).flip(axes), dim=1) for axes in flips]
    return torch.stack(passes).mean(dim=0)[0]


def test_folds_become_an_ensemble_that_gives_their_labels(tmp_path):
    networks = [unet(seed=seed) for seed in (1, 2)]
    folder = write_results(tmp_path / "results", plans_of(), dataset_of())
    for number, network in enumerate(networks):
        write_fold(folder, str(number), network.state_dict())
    assert main(["models", "import", str(folder)]) == 0
    model = load_model(MODEL)
    card = model.card
    assert card.preprocessing == [
        {"step": "clip", "low": -40.0, "high": 190.0, "inputs": ["CT"]},
        {"step": "scale", "offset": -90.0, "factor": 1 / 45, "inputs": ["CT"]},
        {"step": "resample", "spacing": [1.5, 1.0, 3.0], "interpolation": "cubic"},
    ]
    assert card.inference["mirroring"] == ["i", "j", "k"] and card.inference["uncertainty"] == "ensemble"
    assert [label["name"] for label in card.labels] == ["Spleen", "Tumour"]
    size = sum(path.stat().st_size for path in model.folder.glob("weights-*"))
    assert size < 2 * (2 * sum(value.numel() for value in networks[0].parameters()) + 6000)

    array = np.random.default_rng(3).normal(80, 60, (8, 16, 12)).astype(np.float32)
    grid = Grid((12, 16, 8), (1.5, 1.0, 3.0))
    found = segment({"CT": Image(array, grid)}, model, SegmentOptions(samples=0, precision="fp32"))
    expected = torch.stack([answer(network, array) for network in networks]).mean(dim=0).argmax(dim=0).numpy()
    assert len(np.unique(expected)) > 1
    assert (found.labels.array == expected).mean() > 0.99


def test_one_fold_and_regions(tmp_path, capsys):
    dataset = dataset_of(
        labels={"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}, regions_class_order=[1, 2]
    )
    folder = write_results(tmp_path / "results", plans_of(), dataset)
    write_fold(folder, "0", unet(2).state_dict())
    write_fold(folder, "all", unet(2).state_dict())
    assert main(["models", "import", str(folder), "--folds", "all", "--as", "regions"]) == 0
    card = load_model("regions").card
    assert card.inference["activation"] == "sigmoid"
    assert card.network["options"]["draw_order"] == [0, 1]
    assert [(label["value"], label["name"]) for label in card.labels] == [(1, "Whole"), (2, "Core")]
    assert card.data["training"]["imported"]["folds"] == ["fold_all"]
    wrong = {**dataset, "regions_class_order": [1]}
    (folder / "dataset.json").write_text(json.dumps(wrong))
    assert "'regions_class_order' does not give" in refusal(capsys, folder)


def test_a_2d_configuration_runs_over_slices(tmp_path, capsys):
    flat = {
        **ARGUMENTS,
        "conv_op": "torch.nn.modules.conv.Conv2d",
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm2d",
        "kernel_sizes": [[3, 3]] * 3,
        "strides": [[1, 1], [2, 2], [2, 2]],
    }
    plans = plans_of(
        patch_size=[16, 12],
        spacing=[1.0, 1.5],
        normalization_schemes=["ZScoreNormalization"],
        use_mask_for_norm=[True],
        architecture={"network_class_name": "unet.PlainConvUNet", "arch_kwargs": flat},
    )
    pytest.importorskip("dynamic_network_architectures", reason="dynamic-network-architectures is missing")
    options = {"in_channels": 1, "out_channels": 3, "patch": [12, 16], "axes": ["j", "i"]}
    options |= {"architecture": "PlainConvUNet", "arguments": flat}
    network = build_network("nnunet", options)
    dataset = dataset_of(channel_names={"0": "T2"})
    folder = write_results(tmp_path / "results", plans, dataset)
    state = {name.removeprefix("inner."): value for name, value in network.state_dict().items()}
    path = write_fold(folder, "0", state)
    assert str(path) in refusal(capsys, folder)
    shutil.rmtree(path.parent)
    write_fold(folder, "0", state, axes=(0, 1))
    assert main(["models", "import", str(folder), "--as", "flat"]) == 0
    model = load_model("flat")
    assert model.card.inference["mode"] == "slices"
    assert [step["step"] for step in model.card.preprocessing] == [
        "foreground_mask",
        "zscore",
        "resample_in_plane",
    ]
    assert (model.card.reference, model.card.inputs[0]["modality"]) == ("T2", "MR")
    array = np.random.default_rng(3).normal(80, 60, (3, 17, 13)).astype(np.float32)
    array[:, [0, -1]] = array[:, :, [0, -1]] = array[[0, -1]] = 0
    found = segment(
        {"T2": Image(array, Grid((13, 17, 3), (1.5, 1.0, 3.0)))}, model, SegmentOptions(samples=0)
    )
    assert found.labels.array.shape == array.shape


def test_a_checkpoint_of_another_dataset_is_told(tmp_path, capsys):
    folder = write_results(tmp_path / "results", plans_of(), dataset_of())
    path = write_fold(folder, "0", unet(5).state_dict())
    line = refusal(capsys, folder)
    assert str(path) in line and "has shape" in line
    assert not (tmp_path / "models").exists()
