"""Networks of the MONAI package, by the name of their class (needs the package ``monai``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from SegDLEngine.errors import ModelError
from SegDLEngine.networks.foreign import ForeignNetwork, allowed_class


class MonaiNetwork(ForeignNetwork):
    """A class of ``monai.networks.nets`` in the frame of ``ForeignNetwork``, see there for the other options.

    ``architecture`` is its name, such as "UNet" or "SegResNet", ``arguments`` those of its constructor.  Its
    tensors have the axes x, y, z.  Raises ModelError while MONAI is not installed.
    """

    def __init__(
        self,
        architecture: str,
        arguments: Mapping[str, Any],
        in_channels: int,
        patch: Sequence[int],
        axes: Sequence[str] = ("-i", "-j", "k"),
        multiples: Sequence[int] = (16, 16, 16),
        draw_order: Sequence[int] | None = None,
    ):
        inner = _build(architecture, dict(arguments))
        super().__init__(inner, in_channels, patch, axes, multiples, draw_order)


def _build(architecture: str, arguments: dict[str, Any]) -> nn.Module:
    try:
        from monai.networks import nets
    except ImportError as error:
        raise ModelError(
            f"The network {architecture} comes from the Python package 'monai', which is not installed.",
            hint="Install it: pip install monai.",
            code="missing-package",
        ) from error
    if arguments.get("pretrained"):
        # Would fetch weights from the internet, only to have them replaced.
        arguments["pretrained"] = False
    kind = allowed_class(getattr(nets, architecture, None), architecture)
    try:
        return kind(**arguments)
    except (RuntimeError, NotImplementedError):
        # Some constructors read numbers from tensors, which tensors without memory do not have.
        with torch.device("cpu"):
            return kind(**arguments).to(torch.empty(0).device)
    except ValueError as error:
        raise TypeError(str(error)) from error
