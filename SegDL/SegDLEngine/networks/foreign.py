"""The frame round a network of another package: its axes, its sizes, its overlapping outputs.

SegDL's networks see (N, C, k, j, i); others were trained on tensors with other axes.  The frame turns the
images, pads them to sides that the network can take, and turns the answer back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from SegDLEngine.networks.network import Network, dropout_layers

# Logit of an output that another, drawn later, hides.
_HIDDEN = -30.0


class ForeignNetwork(Network):
    """(N, in_channels, k, j, i) to logits of the same size, by the module ``inner``; 2D ones without k.

    - ``patch``: sides (i, j, k), or (i, j), of the images that it was trained with;
    - ``axes``: what the axes of its tensors are, such as ["-i", "-j", "k"]: a minus sign turns an axis round.
      In a grid of LPS orientation this is a tensor of R, A, S;
    - ``multiples``: its sides must be multiples of these numbers, in the order of ``axes``; others are padded
      at their ends and cut again;
    - ``draw_order``: outputs that overlap (sigmoid) in the order in which they are drawn: where a later one
      is likelier than not, the earlier ones are hidden.  Without it they stay as they are.
    """

    def __init__(
        self,
        inner: nn.Module,
        in_channels: int,
        patch: Sequence[int],
        axes: Sequence[str],
        multiples: Sequence[int],
        draw_order: Sequence[int] | None = None,
    ):
        super().__init__()
        self.dimensions = len(patch)
        names = "kji"[3 - self.dimensions :]
        if sorted(axis.lstrip("-") for axis in axes) != sorted(names):
            raise TypeError(f"axes {list(axes)} are not {', '.join(names)} in some order")
        if len(multiples) != len(axes) or min(multiples) < 1:
            raise TypeError(f"multiples {list(multiples)} are not one positive number for each axis")
        self.inner = inner
        self._order = tuple(2 + names.index(axis.lstrip("-")) for axis in axes)
        self._turned = tuple(2 + number for number, axis in enumerate(axes) if axis.startswith("-"))
        self._multiples = tuple(int(number) for number in multiples)
        self._draw_order = tuple(draw_order or ())
        # A volume is cut into patches, which are padded here; slices are padded as they are read.
        self.divisible_by = 1 if self.dimensions == 3 else max(self._multiples)
        self.receptive_field = max(patch)
        self.report_input = (in_channels, *reversed(patch))
        self.dropout_layers = dropout_layers(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        turned = images.permute(0, 1, *self._order).flip(self._turned)
        sides = turned.shape[2:]
        padding: list[int] = []
        for side, multiple in zip(reversed(sides), reversed(self._multiples), strict=True):
            padding += [0, -side % multiple]
        logits = self.inner(functional.pad(turned, padding) if any(padding) else turned)
        if isinstance(logits, (tuple, list)):
            logits = logits[0]
        logits = logits[(..., *(slice(side) for side in sides))].flip(self._turned)
        back = [2 + self._order.index(axis) for axis in range(2, 2 + self.dimensions)]
        return self._hide_earlier(logits.permute(0, 1, *back))

    def aliases(self) -> dict[str, str]:
        """Names of tensors that the inner network holds a second time, each with its first name."""
        found = {}
        for listing in (self.named_parameters, self.named_buffers):
            first = {id(tensor): name for name, tensor in listing()}
            for name, tensor in listing(remove_duplicate=False):
                if first[id(tensor)] != name:
                    found[name] = first[id(tensor)]
        return found

    def state_dict(self, **options: Any) -> dict[str, Any]:  # type: ignore[override]
        """Every tensor once."""
        state = super().state_dict(**options)
        for name in self.aliases():
            state.pop(options.get("prefix", "") + name, None)
        return state

    def load_state_dict(self, state_dict: Any, *arguments: Any, **options: Any) -> Any:
        """Also from a state in which every tensor is there once."""
        twice = {name: state_dict[first] for name, first in self.aliases().items() if first in state_dict}
        return super().load_state_dict({**twice, **state_dict}, *arguments, **options)

    def _hide_earlier(self, logits: torch.Tensor) -> torch.Tensor:
        if not self._draw_order:
            return logits
        drawn = logits.clone()
        hidden = torch.zeros_like(logits[:, 0], dtype=torch.bool)
        for channel in reversed(self._draw_order):
            drawn[:, channel] = drawn[:, channel].masked_fill(hidden, _HIDDEN)
            hidden |= logits[:, channel] > 0
        return drawn


def allowed_class(found: Any, name: str, kind: type = nn.Module) -> Any:
    """``found`` if it is a class below ``kind``; a card may name nothing else.  Raises TypeError."""
    if not (isinstance(found, type) and issubclass(found, kind)):
        raise TypeError(f"'{name}' is not the name of a known {kind.__name__}")
    return found
