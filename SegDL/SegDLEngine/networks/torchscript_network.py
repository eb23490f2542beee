"""A TorchScript archive as a network: a program, run only where the user trusts it (``models/trust.py``)."""

from __future__ import annotations

import io
from collections.abc import Sequence

import torch
from torch import nn

from SegDLEngine.errors import ModelError
from SegDLEngine.networks.foreign import ForeignNetwork

ARCHIVE = "inner.archive"


class TorchscriptNetwork(ForeignNetwork):
    """The archive of ``size`` bytes in the frame of ``ForeignNetwork``, see there for the other options.

    The archive is the tensor ``ARCHIVE`` (uint8) of its weights.  Building and loading run nothing of it; the
    first forward pass does.  It computes in float32, whatever the precision of the images.
    """

    def __init__(
        self,
        size: int,
        in_channels: int,
        patch: Sequence[int],
        axes: Sequence[str] = ("-i", "-j", "k"),
        multiples: Sequence[int] = (16, 16, 16),
        draw_order: Sequence[int] | None = None,
    ):
        super().__init__(_Archive(size), in_channels, patch, axes, multiples, draw_order)


class _Archive(nn.Module):
    archive: torch.Tensor

    def __init__(self, size: int):
        super().__init__()
        self.register_buffer("archive", torch.zeros(size, dtype=torch.uint8))
        self._loaded: dict[str, torch.jit.ScriptModule] = {}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        place = str(images.device)
        if place not in self._loaded:
            self._loaded[place] = load_archive(bytes(self.archive.cpu().numpy()), images.device)
        return self._loaded[place](images.float())

    def __deepcopy__(self, memo: dict) -> _Archive:
        """Archives cannot be copied once loaded; a copy loads its own."""
        copied = _Archive(0)
        copied.archive = self.archive.clone()
        return copied.train(self.training)


def load_archive(content: bytes, device: torch.device | str = "cpu") -> torch.jit.ScriptModule:
    """The module of a TorchScript archive in float32; raises ModelError if it is none."""
    try:
        module = torch.jit.load(io.BytesIO(content), map_location=device)
    except RuntimeError as error:
        raise ModelError(
            f"The TorchScript archive cannot be loaded: {str(error).splitlines()[0]}.",
            hint="It may need a newer PyTorch; ask its authors for the weights alone.",
        ) from error
    return module.float().eval()
