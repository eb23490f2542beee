"""Where a training keeps what; names only, so that a watcher need not import PyTorch."""

from __future__ import annotations

from pathlib import Path

CHECKPOINT_FILE = "checkpoint.safetensors"
HISTORY_FILE = "history.json"
WORKING_SUFFIX = "-training"


def working_folder(output: str | Path) -> Path:
    """Where the training of the package ``output`` keeps its checkpoint."""
    output = Path(output)
    return output.with_name(output.name + WORKING_SUFFIX)
