"""The ways to find the lungs of a CT, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from SegDLEngine.errors import ModelError
from SegDLEngine.images.image import Image
from SegDLEngine.preprocessing.lungs.isolation import LungIsolation, isolate_lungs
from SegDLEngine.preprocessing.lungs.lung_mask import LungMask
from SegDLEngine.preprocessing.lungs.unet import LUNG_MODEL, unet_lungs
from SegDLEngine.preprocessing.lungs.watershed import watershed_lungs
from SegDLEngine.protocol import Reporter

METHODS = ("classical", "watershed", "unet")


def find_lungs(
    image: Image,
    method: str,
    *,
    model: str = LUNG_MODEL,
    constants: Mapping[str, Any] | None = None,
    device: str = "auto",
    reporter: Reporter | None = None,
) -> LungMask | LungIsolation:
    """The lungs of a CT in HU: ``classical`` is report 001's isolation, the others are report 003's.

    ``constants`` are those of the classical or watershed method; ``model`` and ``device`` concern ``unet``.
    Raises ModelError for an unknown method or constant, and for a model that is not installed.
    """
    check_method(method)
    if method == "unet":
        if constants:
            raise ModelError(
                f"The method 'unet' has no constant '{next(iter(constants))}'.", hint="Name another 'model'."
            )
        return unet_lungs(image, model, device, reporter)
    find = isolate_lungs if method == "classical" else watershed_lungs
    return find(image, **(constants or {}))


def check_method(method: str) -> None:
    """Raise ModelError unless there is such a method."""
    if method not in METHODS:
        raise ModelError(
            f"There is no method '{method}' to find lungs.",
            hint=f"Methods: {', '.join(METHODS)}.",
            code="method",
        )
