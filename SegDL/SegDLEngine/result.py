"""What a segmentation gives back: labels, maps, lesions and where all of it came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from SegDLEngine.images.image import Image


@dataclass(frozen=True)
class Result:
    """The outcome of ``pipeline.segment``; every image lies exactly on the grid of the reference input.

    ``labels``: uint8, values of the card's labels, 0 elsewhere.  ``maps``: float32 volumes by name,
    ``mean`` (probability of the foreground, 0..1), ``std`` (0..0.5), ``entropy`` and ``mutual_information``
    (nats, see ``inference.prediction``); without passes for the uncertainty only ``mean``.  With them,
    ``mean`` is that of the passes, and ``probability`` the deterministic pass, from which the labels come.
    ``lesions``: rows of the lesion table.
    ``card``: the model card as data.
    """

    labels: Image
    maps: dict[str, Image]
    lesions: list[dict[str, Any]]
    card: dict[str, Any]
    provenance: dict[str, Any]
    warnings: list[dict[str, Any]] = field(default_factory=list)
