"""Where a training keeps what; names only, so that a watcher need not import PyTorch."""

from __future__ import annotations

from pathlib import Path

CHECKPOINT_FILE = "checkpoint.safetensors"
HISTORY_FILE, CURVE_FILE = "history.json", "history.csv"
WORKING_SUFFIX = "-training"
WEIGHTS_EXTENSION = ".safetensors"


def working_folder(output: str | Path) -> Path:
    """Where the training of ``output``, a package or a file of weights, keeps its checkpoint."""
    output = Path(output)
    return output.with_name(output.name.removesuffix(WEIGHTS_EXTENSION) + WORKING_SUFFIX)
