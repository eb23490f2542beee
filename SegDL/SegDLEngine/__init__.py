"""SegDL's engine: from images to segments, in pure Python.  Research software, not for clinical use.

``from SegDLEngine import segment, load_model, read_image, Result``.  Importing the package loads neither
torch nor SimpleITK; each name is loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "segment": "SegDLEngine.pipeline",
    "load_model": "SegDLEngine.models.catalogue",
    "read_image": "SegDLEngine.images.reading",
    "write_image": "SegDLEngine.images.writing",
    "isolate_lungs": "SegDLEngine.preprocessing.lungs.isolation",
    "Result": "SegDLEngine.result",
    "Image": "SegDLEngine.images.image",
    "Grid": "SegDLEngine.images.grid",
}

__all__ = [
    "Grid",
    "Image",
    "Result",
    "__version__",
    "isolate_lungs",
    "load_model",
    "read_image",
    "segment",
    "write_image",
]

if TYPE_CHECKING:
    from SegDLEngine.images.grid import Grid
    from SegDLEngine.images.image import Image
    from SegDLEngine.images.reading import read_image
    from SegDLEngine.images.writing import write_image
    from SegDLEngine.models.catalogue import load_model
    from SegDLEngine.pipeline import segment
    from SegDLEngine.preprocessing.lungs.isolation import isolate_lungs
    from SegDLEngine.result import Result


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'SegDLEngine' has no attribute '{name}'")
