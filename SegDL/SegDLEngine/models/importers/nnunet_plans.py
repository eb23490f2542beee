"""What SegDL needs of ``plans.json`` of nnU-Net v2, in the present and the first form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SegDLEngine.models.importers.imported import refused
from SegDLEngine.networks.nnunet_network import ARCHITECTURES

SCHEMES = (
    "CTNormalization",
    "ZScoreNormalization",
    "NoNormalization",
    "RescaleTo01Normalization",
)
_AXES = ("k", "j", "i")


@dataclass(frozen=True)
class Configuration:
    """A configuration of the plans; ``patch`` and ``spacing`` in the order of ``axes``.

    ``axes``: what the axes of the network's tensors are, two for a 2D network; ``schemes``, ``masked`` and
    ``intensities``: normalisation of each channel.
    """

    axes: list[str]
    patch: list[int]
    spacing: list[float]
    architecture: str
    arguments: dict[str, Any]
    schemes: list[str]
    masked: list[bool]
    intensities: list[dict[str, float]]

    @property
    def flat(self) -> bool:
        return len(self.axes) == 2

    def by_axis(self, values: Sequence[Any]) -> list[Any]:
        """``values`` in the order i, j, k."""
        table = dict(zip(self.axes, values, strict=True))
        return [table[axis] for axis in reversed(_AXES) if axis in table]


def configuration_of(plans: Mapping[str, Any], name: str, source: Path) -> Configuration:
    """The configuration ``name``; raises ModelError that names the field if SegDL cannot serve it."""
    data = _inherited(plans, name, source)
    if data.get("previous_stage"):
        raise refused(
            source,
            f"'{name}' is the second stage of a cascade, which needs the first one's result",
            "Import a configuration without a cascade, such as 3d_fullres.",
        )
    try:
        order = [int(axis) for axis in plans["transpose_forward"]]
        patch = [int(side) for side in data["patch_size"]]
        spacing = [float(length) for length in data["spacing"]]
        schemes = [str(scheme) for scheme in data["normalization_schemes"]]
        masked = [bool(flag) for flag in data["use_mask_for_norm"]]
        architecture, arguments = _architecture(data, len(patch), source)
        intensities = _intensities(plans, schemes)
    except (KeyError, TypeError, ValueError) as error:
        raise refused(
            source, f"configuration '{name}' lacks or misstates {error}", "Get the folder again."
        ) from error
    unknown = next((scheme for scheme in schemes if scheme not in SCHEMES), None)
    if unknown is not None:
        raise refused(source, f"the normalisation '{unknown}' is not known", f"Known: {', '.join(SCHEMES)}.")
    axes = [_AXES[axis] for axis in order]
    if len(patch) == 2:
        if axes[0] != "k":
            raise refused(
                source,
                "its 2D network looks at slices along another axis than the third of the images",
                "Import the 3D configuration.",
            )
        axes, spacing = axes[1:], spacing[-2:]
    return Configuration(axes, patch, spacing, architecture, arguments, schemes, masked, intensities)


def _inherited(plans: Mapping[str, Any], name: str, source: Path) -> dict[str, Any]:
    """The configuration with what it inherits from others."""
    table = plans.get("configurations")
    data: dict[str, Any] = {}
    seen: set[str] = set()
    while name is not None:
        if not isinstance(table, Mapping) or not isinstance(table.get(name), Mapping) or name in seen:
            raise refused(source, f"it has no configuration '{name}'", "Get the folder again.")
        seen.add(name)
        data = {**table[name], **data}
        name = table[name].get("inherits_from")
    return data


def _architecture(data: Mapping[str, Any], dimensions: int, source: Path) -> tuple[str, dict[str, Any]]:
    """Name and arguments of the network; those of the first form of the plans are put together."""
    if "architecture" in data:
        name = str(data["architecture"]["network_class_name"]).rpartition(".")[2]
        arguments = dict(data["architecture"]["arch_kwargs"])
    else:
        name = str(data["UNet_class_name"])
        stages = len(data["n_conv_per_stage_encoder"])
        units = "n_conv_per_stage" if name == ARCHITECTURES[0] else "n_blocks_per_stage"
        arguments = {
            "n_stages": stages,
            "features_per_stage": [
                min(data["UNet_base_num_features"] * 2**stage, data["unet_max_num_features"])
                for stage in range(stages)
            ],
            "conv_op": f"Conv{dimensions}d",
            "kernel_sizes": data["conv_kernel_sizes"],
            "strides": data["pool_op_kernel_sizes"],
            units: data["n_conv_per_stage_encoder"],
            "n_conv_per_stage_decoder": data["n_conv_per_stage_decoder"],
            "conv_bias": True,
            "norm_op": f"InstanceNorm{dimensions}d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "nonlin": "LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        }
    if name not in ARCHITECTURES:
        raise refused(source, f"the network '{name}' is not known", f"Known: {', '.join(ARCHITECTURES)}.")
    arguments.pop("deep_supervision", None)
    return name, arguments


def _intensities(plans: Mapping[str, Any], schemes: Sequence[str]) -> list[dict[str, float]]:
    """Mean, deviation and percentiles of the foreground of each channel, where its scheme needs them."""
    names = ("mean", "std", "percentile_00_5", "percentile_99_5")
    table = plans.get("foreground_intensity_properties_per_channel", {})
    return [
        {name: float(table[str(number)][name]) for name in names} if scheme == "CTNormalization" else {}
        for number, scheme in enumerate(schemes)
    ]
