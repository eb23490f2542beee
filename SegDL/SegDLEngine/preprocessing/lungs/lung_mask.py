"""What every way to find the lungs of a CT returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from SegDLEngine.images.image import Image


@dataclass(frozen=True)
class LungMask:
    """Lungs on the grid of the CT.

    ``mask``: uint8, 1 in the lungs; ``lungs``: the same, or labels of the lungs where the method tells them
    apart (1 right, 2 left).  ``report``: plain data (volumes in ml, seconds by stage, ``warnings`` as
    {code, text}).
    """

    mask: Image
    lungs: Image
    report: dict[str, Any]


NO_LUNGS = {"code": "no_lungs", "text": "No lung was found in the CT."}
