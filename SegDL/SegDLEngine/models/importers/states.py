"""Tensors by name from the files in which others keep weights; no pickle is ever executed.

- ``.safetensors`` holds numbers only;
- ``.pt``, ``.pth``, ``.ckpt``, ``.bin`` are read by PyTorch's restricted unpickler, which knows tensors and
  plain containers and refuses everything else;
- a TorchScript archive (``.ts`` and some ``.pt``) is a program, parts of which may run when it is loaded; it
  is opened only where the user trusts it, even if no more than its tensors are wanted.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SegDLEngine.errors import InputError
from SegDLEngine.models.importers.imported import refused

if TYPE_CHECKING:
    import torch

EXTENSIONS = (".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".ts", ".tar")
# Before, the restricted reader itself had a hole (CVE-2025-32434).
_SAFE_SINCE = (2, 6)
# Where checkpoints keep the weights.
_KEYS = ("state_dict", "model_state_dict", "network_weights", "model", "net", "network")
# What parallel training and compilation put before the names.
_PREFIXES = ("module.", "_orig_mod.")


def read_state(path: str | Path, *, trust: bool = False) -> dict[str, torch.Tensor]:
    """The tensors of a file, its wrappings and prefixes removed; raises InputError or ModelError.

    ``trust``: a TorchScript archive may be opened.
    """
    path = Path(path)
    if path.suffix.lower() == ".safetensors":
        return _without_prefix(_read_safetensors(path))
    if is_torchscript(path):
        check_trust(path, trust)
        return _without_prefix(_read_torchscript(path))
    return state_of(read_checkpoint(path), path)


def read_checkpoint(path: Path) -> Any:
    """What a file of ``torch.save`` holds, if it is tensors, numbers, texts and containers of them."""
    import torch

    check_file(path)
    if tuple(map(int, re.findall(r"\d+", torch.__version__)[:2])) < _SAFE_SINCE:
        raise refused(
            path,
            f"PyTorch {torch.__version__} can be tricked into executing a pickle",
            "Update PyTorch to 2.6 or newer, or give the weights as .safetensors.",
        )
    try:
        with torch.serialization.safe_globals(_plain_numbers()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # A file that is damaged, or something else, fails anywhere in PyTorch's reader.
        if type(error).__name__ == "UnpicklingError":
            raise refused(
                path,
                "it is no file of PyTorch weights or holds more than numbers; SegDL never executes a pickle",
                "Save its state_dict alone, best as .safetensors, where you trust the file.",
            ) from error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise refused(
            path,
            f"it is no file of PyTorch weights ({reason})",
            f"Known: {', '.join(EXTENSIONS)}; is the download complete?",
        ) from error


def state_of(checkpoint: Any, path: Path) -> dict[str, torch.Tensor]:
    """The tensors in a checkpoint, whose state may be wrapped in a table."""
    import torch

    found = checkpoint
    while isinstance(found, Mapping):
        tensors = {str(name): value for name, value in found.items() if isinstance(value, torch.Tensor)}
        if tensors and len(tensors) == len(found):
            return _without_prefix(tensors)
        found = next((found[key] for key in _KEYS if isinstance(found.get(key), Mapping)), None)
    raise refused(
        path,
        "it holds no table of tensors by name",
        f"A checkpoint has one itself or under one of {', '.join(_KEYS)}.",
    )


def is_torchscript(path: Path) -> bool:
    """True for a TorchScript archive: a zip with code."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.partition("/")[2].startswith("code/") for name in archive.namelist())


def check_trust(path: Path, trust: bool) -> None:
    """Raise ModelError unless the user trusts the TorchScript archive ``path``."""
    if not trust:
        raise refused(
            path,
            "it is a TorchScript archive, which is a program and not only numbers: it could read and write"
            " your files",
            "If you trust where it comes from, say --trust; better, get the weights alone.",
        )


def check_file(path: Path) -> None:
    """Raise InputError unless there is a file of this name."""
    if not path.is_file():
        raise InputError(f"There is no file {path}.", hint="Check the path.")


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    check_file(path)
    try:
        return load(path.read_bytes())
    except (SafetensorError, ValueError, KeyError) as error:
        raise refused(path, f"it is no sound safetensors file ({error})", "Get the file again.") from error


def _read_torchscript(path: Path) -> dict[str, torch.Tensor]:
    from SegDLEngine.networks.torchscript_network import load_archive

    return dict(load_archive(path.read_bytes()).state_dict())


def _without_prefix(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    found = dict(state)
    for prefix in _PREFIXES:
        if found and all(name.startswith(prefix) for name in found):
            found = {name[len(prefix) :]: value for name, value in found.items()}
    return found


def _plain_numbers() -> list[Any]:
    """NumPy's numbers, which training logs in checkpoints hold, under the names of NumPy 1 and 2."""
    import numpy as np

    scalar = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(name)) for name in ("float16", "float32", "float64", "int32", "int64", "bool")]
    return [
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
        np.dtype,
        *kinds,
    ]
