"""Networks by name.  Listing needs no torch; building imports the network's own file.

Each network file holds one ``Network`` (see ``network.py``) whose constructor takes keyword options with
defaults.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from SegDLEngine.errors import ModelError

if TYPE_CHECKING:
    from SegDLEngine.networks.network import Network

_RANDOM_IN_PLACE = {"normal_", "uniform_", "erfinv_", "kaiming_uniform_", "kaiming_normal_"}


@dataclass(frozen=True)
class NetworkEntry:
    """Where a network lives (``module:Class``), its report, and its documented variants (option sets).

    Networks of other packages belong to no report and have no variant of their own.
    """

    target: str
    report: str
    variants: tuple[Mapping[str, Any], ...] = field(default=({},))


# The network of the shipped model: small enough to train without a GPU; sees six neighbouring slices.
LUNG_UNET2D_COMPACT: dict[str, Any] = {
    "in_channels": 7,
    "filters": 12,
    "max_filters": 144,
    "dropout": 0.2,
    "normalisation": "batch",
    "head_channels": 8,
}

NETWORKS: dict[str, NetworkEntry] = {
    "lung_unet2d": NetworkEntry(
        "SegDLEngine.networks.lung_unet2d:LungUNet2d",
        "001",
        variants=({}, LUNG_UNET2D_COMPACT),
    ),
    "lung_unet2d_small": NetworkEntry("SegDLEngine.networks.lung_unet2d_small:LungUNet2dSmall", "001"),
    "se_resunet3d": NetworkEntry(
        "SegDLEngine.networks.se_resunet3d:SEResUNet3d",
        "000",
        variants=(
            {},
            {"pathway": False},
            {"normalisation": "batch"},
            *({"filters": filters} for filters in (16, 15, 14, 10, 2)),
            {"filters": 16, "pathway": False},
        ),
    ),
    "rrse_unet3d": NetworkEntry(
        "SegDLEngine.networks.rrse_unet3d:RRSEUNet3d",
        "000",
        variants=tuple({"variant": name} for name in ("M1", "M2", "M3", "M4")),
    ),
    "baseline_unet3d": NetworkEntry(
        "SegDLEngine.networks.baseline_unet3d:BaselineUNet3d", "000", variants=({}, {"filters": 16})
    ),
    "multiscale_cnn3d": NetworkEntry(
        "SegDLEngine.networks.multiscale_cnn3d:MultiscaleCNN3d",
        "002",
        variants=({}, {"skips": "sum"}, {"skips": None}, {"maps": 1}),
    ),
    "two_path_cnn": NetworkEntry("SegDLEngine.networks.two_path_cnn:TwoPathCNN", "002"),
    "input_cascade_cnn": NetworkEntry("SegDLEngine.networks.input_cascade_cnn:InputCascadeCNN", "002"),
    "unet2d": NetworkEntry("SegDLEngine.networks.unet2d:UNet2d", "002, 003", variants=({}, {"padded": True})),
    "unet3d_69k": NetworkEntry(
        "SegDLEngine.networks.unet3d_69k:UNet3d69k", "002", variants=({}, {"in_channels": 1})
    ),
    "genesis_unet3d": NetworkEntry("SegDLEngine.networks.genesis_unet3d:GenesisUNet3d", "003"),
    "genesis_unet2d": NetworkEntry("SegDLEngine.networks.genesis_unet2d:GenesisUNet2d", "003"),
    "attention_unet2d": NetworkEntry(
        "SegDLEngine.networks.attention_unet2d:AttentionUNet2d", "003", variants=({}, {"filters": 64})
    ),
    "attention_unet3d": NetworkEntry("SegDLEngine.networks.attention_unet3d:AttentionUNet3d", "003"),
    "lungmask_unet2d": NetworkEntry(
        "SegDLEngine.networks.lungmask_unet2d:LungmaskUNet2d", "003", variants=({}, {"out_channels": 6})
    ),
    "res_unet2d": NetworkEntry(
        "SegDLEngine.networks.res_unet2d:ResUNet2d",
        "004",
        variants=(
            {},
            {"encoder_depths": [1, 1, 1, 1, 1], "output_depth": 1},
            {
                "filters": [16, 16, 16],
                "encoder_depths": [1, 1, 1],
                "decoder_depths": [1, 1],
                "output_depth": 1,
                "upsampling": "bilinear",
            },
        ),
    ),
    "monai": NetworkEntry("SegDLEngine.networks.monai_network:MonaiNetwork", "", variants=()),
    "nnunet": NetworkEntry("SegDLEngine.networks.nnunet_network:NnunetNetwork", "", variants=()),
    "torchscript": NetworkEntry(
        "SegDLEngine.networks.torchscript_network:TorchscriptNetwork", "", variants=()
    ),
}


def build_network(name: str, options: Mapping[str, Any] | None = None) -> Network:
    """The network with freshly initialised weights; raises ModelError for an unknown name or option."""
    if name not in NETWORKS:
        raise ModelError(
            f"There is no network named '{name}'.", hint=f"Known networks: {', '.join(sorted(NETWORKS))}."
        )
    module, _, attribute = NETWORKS[name].target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)(**dict(options or {}))
    except TypeError as error:
        raise ModelError(
            f"Network '{name}': {error}.", hint="Check the options of the model card."
        ) from error


def build_empty(name: str, options: Mapping[str, Any] | None = None, device: str = "cpu") -> Network:
    """The network with memory that nobody has filled, to be loaded at once; on "meta" without memory.

    Skipping the random initialisation saves its time, and on "meta" two seconds of imports.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    class WithoutRandomValues(TorchFunctionMode):
        def __torch_function__(self, function, types, arguments=(), keywords=None):  # type: ignore[no-untyped-def]
            if getattr(function, "__name__", "") in _RANDOM_IN_PLACE:
                return arguments[0] if arguments else keywords["tensor"]
            return function(*arguments, **(keywords or {}))

    with torch.device(device), WithoutRandomValues():
        return build_network(name, options)


def network_rows() -> Iterator[dict[str, Any]]:
    """One row for each network and documented variant, as ``segdl networks --json`` prints them.

    ``trainable`` counts parameters, ``static`` the batch-norm statistics; ``input`` is the input shape
    (channels first) that the network's report uses.
    """
    for name, entry in NETWORKS.items():
        for options in entry.variants:
            network = build_empty(name, options, "meta")
            static = sum(
                buffer.numel()
                for key, buffer in network.named_buffers()
                if key.endswith(("running_mean", "running_var"))
            )
            yield {
                "name": name,
                "options": dict(options),
                "trainable": sum(parameter.numel() for parameter in network.parameters()),
                "static": static,
                "input": list(network.report_input),
            }
