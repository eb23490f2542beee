"""Brings tensors under the names of a network, and says which does not fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SegDLEngine.errors import ModelError

if TYPE_CHECKING:
    import torch

State = Mapping[str, "torch.Tensor"]
# A batch norm's count of batches, which old files lack and inference does not read.
_COUNTER = "num_batches_tracked"


def fit(
    state: State, name: str, options: Mapping[str, Any], source: Path | str, *, public: bool = True
) -> dict[str, torch.Tensor]:
    """The tensors under the names of the network ``name``, in its order.

    The tensors bear its own names, or those of its public original; ``public``: they come from there, and
    not from SegDL.  Raises ModelError that names the file,
    the first tensor that is missing, superfluous or of another shape, and the remedy.
    """
    from SegDLEngine.networks.foreign import ForeignNetwork
    from SegDLEngine.networks.registry import build_empty

    network = build_empty(name, options, "meta")
    expected = network.state_dict()
    found = _translated(state, name, expected, public)
    if isinstance(network, ForeignNetwork):
        twice = network.aliases()
        found = {key: value for key, value in found.items() if key not in twice or key in expected}
    fitted = {}
    for key, wanted in expected.items():
        if key not in found and key.endswith(_COUNTER):
            fitted[key] = wanted.new_zeros(wanted.shape, device="cpu")
            continue
        if key not in found:
            raise _unfit(source, name, f"tensor '{key}' is missing")
        if found[key].shape != wanted.shape:
            shapes = f"{tuple(found[key].shape)}, the network needs {tuple(wanted.shape)}"
            raise _unfit(source, name, f"tensor '{key}' has shape {shapes}")
        fitted[key] = found[key]
    superfluous = next((key for key in found if key not in expected), None)
    if superfluous is not None:
        raise _unfit(source, name, f"tensor '{superfluous}' is not part of it")
    return fitted


def _translated(state: State, name: str, expected: State, public: bool) -> State:
    """The state as it is, or translated: whichever fits more of the network's tensors."""
    candidates = [translate(state) for translate in _translations(name, public)]
    return max(candidates, key=lambda found: sum(_fits(found, key, expected) for key in expected))


def _fits(found: State, key: str, expected: State) -> bool:
    return key in found and found[key].shape == expected[key].shape


def _translations(name: str, public: bool) -> list[Callable[[State], State]]:
    """How tensors may have to be renamed and turned; of equal ones the first counts.

    The public HECKTOR 2020 network and Models Genesis saw tensors (i, j, k), ours see (k, j, i): their
    kernels must be turned, although they have the same shapes either way.
    """
    from SegDLEngine.networks.genesis_unet2d import flatten_kernels
    from SegDLEngine.networks.genesis_unet3d import reorder_kernels
    from SegDLEngine.networks.se_resunet3d import rename_public

    turned = reorder_kernels if public else _as_it_is
    table: dict[str, list[Callable[[State], State]]] = {
        "se_resunet3d": [_as_it_is, lambda state: reorder_kernels(rename_public(state))],
        "genesis_unet2d": [lambda state: flatten_kernels(turned(state))],
        "genesis_unet3d": [turned],
        "monai": [_as_it_is, _inside],
        "nnunet": [_as_it_is, _inside],
    }
    return table.get(name, [_as_it_is])


def _as_it_is(state: State) -> State:
    return state


def _inside(state: State) -> State:
    return {f"inner.{key}": value for key, value in state.items()}


def _unfit(source: Path | str, name: str, reason: str) -> ModelError:
    return ModelError(
        f"The weights in {source} do not fit the network '{name}': {reason}.",
        hint="Give the file that belongs to this model, or name another model with --as.",
    )
