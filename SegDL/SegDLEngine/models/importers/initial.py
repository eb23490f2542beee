"""Weights to start a training from, such as those of Models Genesis.

Such weights solve another task (Models Genesis restores distorted images), so they are no model: there is
nothing to list, to open in the panel or to segment with.  They become one file of plain tensors under the
network's own names, from which a training starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from SegDLEngine.errors import InputError
from SegDLEngine.models.importers.fitting import fit
from SegDLEngine.models.importers.states import read_state
from SegDLEngine.models.writing import write_weights


def write_initial(
    source: Path, target: Path, network: str, options: Mapping[str, Any], *, trust: bool = False
) -> dict[str, Any]:
    """Write the weights of ``source`` for ``network`` as safetensors in their own precision.

    For "genesis_unet2d" three-dimensional weights are flattened.  Returns ``{"file", "sha256", "tensors",
    "parameters"}``; raises ModelError where they do not fit, InputError where ``target`` cannot be written.
    """
    if target.suffix.lower() != ".safetensors":
        raise InputError(
            f"Initial weights cannot be written as '{target.name}'.", hint="Use the extension .safetensors."
        )
    public = source.suffix.lower() != ".safetensors"
    state = fit(read_state(source, trust=trust), network, options, source, public=public)
    try:
        digest = write_weights(state, target)
    except OSError as error:
        raise InputError(
            f"{target} cannot be written: {error.strerror}.", hint="Choose a folder that exists."
        ) from error
    return {
        "file": str(target),
        "sha256": digest,
        "tensors": len(state),
        "parameters": sum(value.numel() for value in state.values() if value.is_floating_point()),
    }
