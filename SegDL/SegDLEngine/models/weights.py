"""Weights into networks: safetensors only, and only when every tensor fits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from SegDLEngine.errors import ModelError
from SegDLEngine.models.card import ModelCard

if TYPE_CHECKING:
    import torch

    from SegDLEngine.networks.network import Network


def check_network(card: ModelCard, content: bytes) -> tuple[int, int]:
    """Check steps, network and weights of a card together; returns the numbers of tensors and parameters.

    The network is built without memory, so that a card with absurd options costs nothing.
    """
    from SegDLEngine.networks.registry import build_empty
    from SegDLEngine.preprocessing.registry import check_steps

    check_steps(card.preprocessing, card.input_names)
    tensors = read_tensors(card, content)
    network = build_empty(card.network["name"], card.network["options"], "meta")
    _check_fit(card, network.state_dict(), tensors)
    return len(tensors), sum(parameter.numel() for parameter in network.parameters())


def read_tensors(card: ModelCard, content: bytes) -> dict[str, torch.Tensor]:
    """Tensors by name; raises ModelError unless the bytes are safetensors of finite numbers."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise _unfit(card, f"they cannot be read as safetensors ({error})") from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise _unfit(card, f"tensor '{name}' has values that are not finite")
    return tensors


def build_with_weights(card: ModelCard, content: bytes) -> Network:
    """The card's network in evaluation mode with these weights in float32; half precision is widened."""
    from SegDLEngine.models.trust import check_trusted
    from SegDLEngine.networks.registry import build_empty

    check_trusted(card)
    tensors = read_tensors(card, content)
    name, options = card.network["name"], card.network["options"]
    _check_fit(card, build_empty(name, options, "meta").state_dict(), tensors)
    network = build_empty(name, options)
    network.load_state_dict(tensors)
    return network.float().eval()


def _check_fit(card: ModelCard, expected: dict[str, torch.Tensor], tensors: dict[str, torch.Tensor]) -> None:
    for name in expected:
        if name not in tensors:
            raise _unfit(card, f"tensor '{name}' is missing")
    for name, tensor in tensors.items():
        if name not in expected:
            raise _unfit(card, f"tensor '{name}' is not part of the network")
        if tensor.shape != expected[name].shape:
            found, needed = tuple(tensor.shape), tuple(expected[name].shape)
            raise _unfit(card, f"tensor '{name}' has shape {found}, the network needs {needed}")


def _unfit(card: ModelCard, reason: str) -> ModelError:
    return ModelError(
        f"The weights of model '{card.id}' do not fit network '{card.network['name']}': {reason}.",
        hint="Get the package again, or correct the network options of the card.",
    )
