"""matplotlib, if it is installed: pictures are an extra, tables are always written."""

from __future__ import annotations

from typing import Any

from SegDLEngine.errors import InputError


def pyplot() -> Any:
    """``matplotlib.pyplot`` without a display; raises InputError that says how to get it."""
    try:
        import matplotlib
    except ImportError as error:
        raise InputError(
            "Pictures need matplotlib, which is not installed.", hint="pip install matplotlib"
        ) from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt
