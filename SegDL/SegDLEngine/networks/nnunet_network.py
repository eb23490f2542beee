"""Networks of nnU-Net v2 as its plans describe them (needs ``dynamic-network-architectures``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from SegDLEngine.errors import ModelError
from SegDLEngine.networks.foreign import ForeignNetwork, allowed_class

ARCHITECTURES = ("PlainConvUNet", "ResidualEncoderUNet")
_CLASS_ARGUMENTS = ("conv_op", "norm_op", "dropout_op", "nonlin")


class NnunetNetwork(ForeignNetwork):
    """A U-Net of nnU-Net in the frame of ``ForeignNetwork``, see there for the other options.

    ``architecture``: one of ``ARCHITECTURES``; ``arguments``: the plans' ``arch_kwargs``, in which layers are
    named by their class in ``torch.nn``.  Raises ModelError while the package is not installed.
    """

    def __init__(
        self,
        architecture: str,
        arguments: Mapping[str, Any],
        in_channels: int,
        out_channels: int,
        patch: Sequence[int],
        axes: Sequence[str] = ("k", "j", "i"),
        multiples: Sequence[int] | None = None,
        draw_order: Sequence[int] | None = None,
    ):
        inner = _build(architecture, dict(arguments), in_channels, out_channels)
        if multiples is None:
            multiples = side_multiples(arguments["strides"], len(patch))
        super().__init__(inner, in_channels, patch, axes, multiples, draw_order)


def side_multiples(strides: Sequence[int | Sequence[int]], dimensions: int) -> list[int]:
    """What the sides of the input must be multiples of: the product of all strides along each axis."""
    multiples = [1] * dimensions
    for stride in strides:
        along = [stride] * dimensions if isinstance(stride, int) else stride
        multiples = [whole * int(part) for whole, part in zip(multiples, along, strict=True)]
    return multiples


def _build(architecture: str, arguments: dict[str, Any], in_channels: int, out_channels: int) -> nn.Module:
    if architecture not in ARCHITECTURES:
        raise TypeError(f"architecture '{architecture}' is none of {', '.join(ARCHITECTURES)}")
    try:
        from dynamic_network_architectures.architectures import unet
    except ImportError as error:
        raise ModelError(
            f"The network {architecture} of nnU-Net comes from the Python package"
            " 'dynamic-network-architectures', which is not installed.",
            hint="Install it: pip install dynamic-network-architectures.",
            code="missing-package",
        ) from error
    for key in _CLASS_ARGUMENTS:
        if arguments.get(key) is not None:
            name = str(arguments[key]).rpartition(".")[2]
            arguments[key] = allowed_class(getattr(nn, name, None), name)
    arguments["deep_supervision"] = False
    try:
        return getattr(unet, architecture)(input_channels=in_channels, num_classes=out_channels, **arguments)
    except (AssertionError, ValueError) as error:
        raise TypeError(str(error) or f"the arguments of {architecture} contradict each other") from error
