"""Small MONAI bundles and nnU-Net results folders for tests, in the layouts of the originals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

UNET = {
    "_target_": "UNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 2,
    "channels": [4, 8],
    "strides": [2],
    "num_res_units": 1,
    "norm": "batch",
}
TRANSFORMS = [
    {"_target_": "LoadImaged", "keys": "@image_key"},
    {"_target_": "EnsureChannelFirstd", "keys": "@image_key"},
    {"_target_": "Orientationd", "keys": "@image_key", "axcodes": "RAS"},
    {"_target_": "Spacingd", "keys": "@image_key", "pixdim": [1.0, 1.5, 2.0], "mode": "bilinear"},
    {
        "_target_": "ScaleIntensityRanged",
        "keys": "@image_key",
        "a_min": -57,
        "a_max": 164,
        "b_min": 0,
        "b_max": 1,
        "clip": True,
    },
    {"_target_": "EnsureTyped", "keys": "@image_key"},
]


def inference_of(transforms: list[Any], network: Any = UNET, **changes: Any) -> dict[str, Any]:
    """A ``configs/inference.json`` as in MONAI's model zoo."""
    return {
        "imports": ["$import glob"],
        "image_key": "image",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": network,
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": transforms},
        "inferer": {
            "_target_": "SlidingWindowInferer",
            "roi_size": [8, 12, 16],
            "sw_batch_size": 4,
            "overlap": 0.5,
        },
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "Activationsd", "keys": "pred", "softmax": True},
                {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
            ],
        },
        **changes,
    }


def metadata_of(
    outputs: list[str], inputs: tuple[str, ...] = ("image",), modality: str = "CT"
) -> dict[str, Any]:
    """A ``configs/metadata.json`` with these channels."""

    def tensor(names: Any) -> dict[str, Any]:
        table = {str(number): name for number, name in enumerate(names)}
        return {"num_channels": len(table), "spatial_shape": [8, 12, 16], "channel_def": table}

    return {
        "version": "0.5.9",
        "name": "Spleen CT segmentation",
        "task": "Decathlon spleen segmentation",
        "description": "Finds the spleen",
        "authors": "Somebody",
        "intended_use": "This is an example, not to be used for diagnostic purposes",
        "eval_metrics": {"mean_dice": 0.96},
        "network_data_format": {
            "inputs": {"image": {"modality": modality, **tensor(inputs)}},
            "outputs": {"pred": tensor(outputs)},
        },
    }


def write_bundle(folder: Path, inference: dict[str, Any], metadata: dict[str, Any]) -> Path:
    """The bundle without its ``models/model.pt``."""
    for name in ("configs", "models"):
        (folder / name).mkdir(parents=True)
    (folder / "configs" / "inference.json").write_text(json.dumps(inference))
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    (folder / "LICENSE").write_text("Apache License 2.0\n")
    return folder


ARGUMENTS = {
    "n_stages": 3,
    "features_per_stage": [4, 6, 8],
    "conv_op": "torch.nn.modules.conv.Conv3d",
    "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
    "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
    "n_conv_per_stage": [1, 1, 1],
    "n_conv_per_stage_decoder": [1, 1],
    "conv_bias": True,
    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
    "norm_op_kwargs": {"eps": 1e-05, "affine": True},
    "dropout_op": None,
    "dropout_op_kwargs": None,
    "nonlin": "torch.nn.LeakyReLU",
    "nonlin_kwargs": {"inplace": True},
}


def plans_of(**changes: Any) -> dict[str, Any]:
    """``plans.json`` of one CT channel: windows of 8 x 16 x 12 (k, j, i), 3 x 1 x 1.5 mm."""
    full = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "batch_size": 2,
        "patch_size": [8, 16, 12],
        "spacing": [3.0, 1.0, 1.5],
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": ARGUMENTS,
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
        **changes,
    }
    return {
        "dataset_name": "Dataset042_Spleen",
        "plans_name": "nnUNetPlans",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "image_reader_writer": "SimpleITKIO",
        "configurations": {"3d_fullres": full, "3d_child": {"inherits_from": "3d_fullres"}},
        "foreground_intensity_properties_per_channel": {
            "0": {
                "max": 900.0,
                "mean": 90.0,
                "median": 95.0,
                "min": -900.0,
                "percentile_00_5": -40.0,
                "percentile_99_5": 190.0,
                "std": 45.0,
            }
        },
    }


def dataset_of(**changes: Any) -> dict[str, Any]:
    """``dataset.json`` with the labels spleen and tumour."""
    return {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "spleen": 1, "tumour": 2},
        "numTraining": 3,
        "file_ending": ".nii.gz",
        "name": "Spleen",
        **changes,
    }


def write_results(folder: Path, plans: dict[str, Any], dataset: dict[str, Any]) -> Path:
    """The results folder without its folds."""
    folder.mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    return folder


def write_fold(
    folder: Path, name: str, state: Any, configuration: str = "3d_fullres", axes: tuple[int, ...] = (0, 1, 2)
) -> Path:
    """A checkpoint with the keys that nnU-Net v2 writes, numbers of NumPy among them."""
    import numpy as np
    import torch

    path = folder / f"fold_{name}" / "checkpoint_final.pth"
    path.parent.mkdir()
    checkpoint = {
        "network_weights": state,
        "optimizer_state": {"state": {}, "param_groups": [{"lr": 0.01, "params": [0]}]},
        "grad_scaler_state": None,
        "logging": {
            "mean_fg_dice": [np.float64(0.5)],
            "train_losses": [np.float32(-0.3)],
            "dice_per_class_or_region": [[np.float64(0.4), np.float64(0.6)]],
        },
        "_best_ema": np.float64(0.5),
        "current_epoch": 1000,
        "init_args": {
            "plans": {"any": [1, 2]},
            "configuration": configuration,
            "fold": 0,
            "dataset_json": {},
            "device": torch.device("cpu"),
        },
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": axes,
    }
    torch.save(checkpoint, path)
    return path


def refusal(capsys, *arguments):
    """What ``segdl models import`` tells on stderr where it refuses."""
    from SegDLEngine.command_line.main import main

    capsys.readouterr()
    assert main(["models", "import", *map(str, arguments)]) == 2
    return capsys.readouterr().err
