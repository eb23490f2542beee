"""Where the real test images lie; tests that need them skip with the reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def data_folder() -> Path | None:
    """The folder of real images: SEGDL_TEST_DATA, or ../shared/data beside the repository; None if absent."""
    chosen = os.environ.get("SEGDL_TEST_DATA")
    folder = Path(chosen) if chosen else Path(__file__).resolve().parents[2] / "shared" / "data"
    return folder if folder.is_dir() else None


def real_file(*parts: str) -> Path:
    """A file or folder of the real images; skips the running test when it is absent."""
    folder = data_folder()
    path = folder.joinpath(*parts) if folder else None
    if path is None or not path.exists():
        pytest.skip(
            f"real test image {'/'.join(parts)} is absent; set SEGDL_TEST_DATA to the folder that has it"
        )
    return path


requires_data = pytest.mark.skipif(
    data_folder() is None, reason="real test images are absent; set SEGDL_TEST_DATA to their folder"
)
