"""Lungs by a network, the second way of report 003: a model of the catalogue that labels lungs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from SegDLEngine.errors import ModelError
from SegDLEngine.images.image import Image
from SegDLEngine.preprocessing.lungs.lung_mask import NO_LUNGS, LungMask
from SegDLEngine.preprocessing.lungs.report import Clock, volumes
from SegDLEngine.protocol import Reporter

if TYPE_CHECKING:
    from SegDLEngine.models.catalogue import Model

LUNG_MODEL = "lungs-r231-unet2d"


def unet_lungs(
    image: Image, model: str | Model = LUNG_MODEL, device: str = "auto", reporter: Reporter | None = None
) -> LungMask:
    """The lungs of a CT in HU as the model of an id or package folder labels them, computed on ``device``.

    ``reporter`` is asked whether to stop and told warnings; the model's own progress is not the caller's.
    Raises ModelError if there is no such model or its weights are not installed.
    """
    # Here, because the pipeline stands above preprocessing and runs this step.
    from SegDLEngine.models.catalogue import load_model
    from SegDLEngine.options import SegmentOptions
    from SegDLEngine.pipeline import segment

    outer = reporter or Reporter()

    def cancelled() -> bool:
        outer.check()
        return False

    inner = Reporter(cancelled=cancelled)
    clock = Clock()
    with clock.stage("network"):
        try:
            found = load_model(model)
        except ModelError as error:
            raise _with_remedy(error) from error
        version = f"{found.card.id} {found.card.version}"
        outer.log(f"The lungs are found by the model {version} (SHA-256 of its weights {found.sha256}).")
        case = {found.card.reference: image}
        result = segment(case, found, SegmentOptions(samples=0, device=device), inner)
    for warning in inner.warnings:
        outer.warning(warning["code"], warning["text"])
    mask = result.labels.with_array((result.labels.array > 0).view(np.uint8))
    report = {
        **volumes({"lungs": mask, "mask": mask}),
        "model": {"id": found.card.id, "version": found.card.version, "sha256": found.sha256},
        "warnings": [] if mask.array.any() else [NO_LUNGS],
        "seconds": clock.stop(),
    }
    return LungMask(mask, result.labels, report)


def _with_remedy(error: ModelError) -> ModelError:
    remedy = "Or find the lungs with the method 'watershed' or 'classical', which need no weights."
    return ModelError(
        f"The lungs cannot be found by a U-Net: {error.text}",
        hint=f"{error.hint} {remedy}".strip(),
        code=error.code,
        detail=error.detail,
    )
