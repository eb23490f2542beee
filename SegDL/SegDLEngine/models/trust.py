"""Which TorchScript archives this user lets run.

A TorchScript archive is a program: it cannot call Python, but it can read and write files.  SegDL runs one
only after the user has said so for exactly these bytes.  What is trusted is kept by SHA-256 in the user's
models folder, so no package can bring its own permission.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from SegDLEngine.errors import InputError, ModelError
from SegDLEngine.models.card import ModelCard
from SegDLEngine.models.package import user_models_folder

TRUST_FILE = ".trusted.json"
CODE_NETWORKS = ("torchscript",)


def is_code(card: ModelCard) -> bool:
    """True if the weights of the card's network are a program."""
    return card.network["name"] in CODE_NETWORKS


def trust(card: ModelCard, models_folder: str | Path | None = None) -> None:
    """Remember that the user trusts the weights of this card."""
    path = _file(models_folder)
    hashes = sorted({*_read(path), *_hashes(card)})
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(hashes, indent=1) + "\n", encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise InputError(
            f"The list of trusted archives {path} cannot be written: {error.strerror}.",
            hint="Choose another models folder with the environment variable SEGDL_MODELS.",
        ) from error


def check_trusted(card: ModelCard, models_folder: str | Path | None = None) -> None:
    """Raise ModelError unless the card's weights are plain numbers, or a program that the user trusts."""
    if is_code(card) and not _hashes(card) <= _read(_file(models_folder)):
        raise ModelError(
            f"The network of model '{card.id}' is a TorchScript archive, which is a program and not only"
            " numbers: it could read and write your files.",
            hint="If you trust where it comes from, install it with --trust.",
            code="untrusted",
        )


def _file(models_folder: str | Path | None) -> Path:
    return (Path(models_folder) if models_folder else user_models_folder()) / TRUST_FILE


def _hashes(card: ModelCard) -> set[str]:
    return {entry["sha256"] for entry in card.weight_files}


def _read(path: Path) -> set[str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return set()
    except (OSError, ValueError) as error:
        raise InputError(
            f"The list of trusted archives {path} cannot be read: {error}.",
            hint="Remove it, and install the TorchScript models again with --trust.",
        ) from error
    return {entry for entry in found if isinstance(entry, str)} if isinstance(found, list) else set()
