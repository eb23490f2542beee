"""Writes model packages: card, weights in half precision, licence."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SegDLEngine.errors import InputError
from SegDLEngine.models.card import CARD_FILE, check_card
from SegDLEngine.models.package import WEIGHTS_FILE, move_into_place, verify

if TYPE_CHECKING:
    import torch

# What a person may have added to the folder of a package, and what writing it anew keeps.
_KEPT = ("README.md", "thumbnail.png")

_LARGEST_HALF = 65504.0


def write_package(
    states: Sequence[Mapping[str, torch.Tensor]],
    card: Mapping[str, Any],
    folder: str | Path,
    *,
    licence_file: str | Path | None = None,
    licence_text: str | None = None,
) -> dict[str, Any]:
    """Write the package ``folder``, verified, and return what ``package.verify`` reports.

    ``states``: the weights of one network, or of each fold of an ensemble, by tensor name; ``card``: the
    model card, whose ``weights`` are replaced.  Floating-point kernels are stored in half precision, which
    halves the package; the engine widens them when it loads.  The licence is a file to copy or its text.
    The folder appears, or replaces an older package, as a whole or not at all.  Raises ModelError when card
    and weights do not fit, InputError when the folder holds something else or cannot be written.
    """
    if not states:
        raise ValueError("a package needs the weights of at least one network")
    if (licence_file is None) == (licence_text is None):
        raise ValueError("give either licence_file or licence_text")
    folder = Path(os.path.abspath(folder))
    refuse_other_content(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder.parent))
    except OSError as error:
        raise InputError(
            f"The model package {folder} cannot be written: {error.strerror}.", hint="Choose another folder."
        ) from error
    try:
        data = copy.deepcopy(dict(card))
        data["weights"] = _write_folds(states, staging)
        check_card(data, str(folder / CARD_FILE))
        text = Path(licence_file).read_text(encoding="utf-8") if licence_file is not None else licence_text
        (staging / data["licence"]["file"]).write_text(str(text), encoding="utf-8")
        text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
        (staging / CARD_FILE).write_text(text, encoding="utf-8")
        for name in _KEPT:
            if (folder / name).is_file():
                shutil.copyfile(folder / name, staging / name)
        report = verify(staging)
        staging.chmod(0o755)
        move_into_place(staging, folder)
        return report
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def write_weights(state: Mapping[str, torch.Tensor], path: str | Path) -> str:
    """Tensors as safetensors in their own precision; returns the file's SHA-256.

    Written beside the target and moved into place, so that a kill leaves no half file.
    """
    from safetensors.torch import save

    path = Path(path)
    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()})
    partial = path.with_name(path.name + ".partial")
    with open(partial, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, path)
    return hashlib.sha256(content).hexdigest()


def _write_folds(states: Sequence[Mapping[str, torch.Tensor]], folder: Path) -> dict[str, Any]:
    """Write all weights and return the card's entry of them."""
    names = [WEIGHTS_FILE]
    if len(states) > 1:
        stem, extension = os.path.splitext(WEIGHTS_FILE)
        names = [f"{stem}-{number}{extension}" for number in range(1, len(states) + 1)]
    files = []
    for name, state in zip(names, states, strict=True):
        halves = {key: _half(tensor) for key, tensor in state.items()}
        files.append({"file": name, "sha256": write_weights(halves, folder / name)})
    return files[0] if len(files) == 1 else {"folds": files}


def _half(tensor: torch.Tensor) -> torch.Tensor:
    """Half precision for kernels, unless a number is too large for it.

    What has one number a channel (biases, the mean and variance of a batch norm) is small, and half precision
    is too coarse for it: the variance of a channel that hardly varies would become 0.
    """
    if not tensor.is_floating_point() or tensor.dim() < 2 or tensor.numel() == 0:
        return tensor
    return tensor.half() if float(tensor.detach().abs().max()) <= _LARGEST_HALF else tensor


def refuse_other_content(folder: Path) -> None:
    """Raise InputError unless ``folder`` is empty, not there, or an older model package."""
    if not folder.exists() or (folder.is_dir() and (folder / CARD_FILE).is_file()):
        return
    if not folder.is_dir() or any(folder.iterdir()):
        raise InputError(
            f"{folder} is not a model package, so none is written over it.", hint="Choose another folder."
        )
