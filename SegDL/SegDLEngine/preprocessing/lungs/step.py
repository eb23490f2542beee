"""The preprocessing step ``isolate_lungs``: outside the lung region the CT becomes air."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any

import numpy as np

from SegDLEngine.images.image import Image
from SegDLEngine.preprocessing.lungs.constants import LungConstants
from SegDLEngine.preprocessing.lungs.isolation import AIR_HU, LungIsolation, isolate_lungs
from SegDLEngine.preprocessing.lungs.planes import dilate_cross
from SegDLEngine.preprocessing.registry import PreparedCase, step

LABEL_DILATIONS = 3


def isolate_step(
    case: PreparedCase, *, keep_labels: bool = False, outside: float = AIR_HU, **constants: Any
) -> PreparedCase:
    """Set the reference CT (HU) to ``outside`` beyond the lung region; slices and grid stay as they are.

    Adds masks ``lungs`` (the region) and ``lungs_before_flip`` (the lungs themselves).  In training,
    ``keep_labels`` adds the label, dilated three times by one voxel, to the region, so that no tumour voxel
    is lost.  Without lungs the body is the region; each finding is reported as a warning.
    """
    reference = case.images[case.reference]
    isolation = isolate_lungs(reference, **constants)
    for warning in isolation.report["warnings"]:
        case.reporter.warning(warning["code"], warning["text"])
    region = _region(isolation)
    if keep_labels and case.labels is not None:
        region = region | dilate_cross(case.labels.array > 0, LABEL_DILATIONS)
    array = np.where(region, reference.array, np.asarray(outside, reference.array.dtype))
    mask = Image(region.astype(np.uint8), reference.grid)
    return (
        case.with_images({**case.images, case.reference: reference.with_array(array)})
        .with_mask("lungs", mask)
        .with_mask("lungs_before_flip", isolation.lungs)
    )


def _region(isolation: LungIsolation) -> np.ndarray:
    if isolation.mask.array.any():
        return isolation.mask.array > 0
    return isolation.body.array > 0


def _with_constants() -> inspect.Signature:
    """The step's signature with every constant by name, so that a card with a wrong one is refused early."""
    own = inspect.signature(isolate_step)
    named = [item for item in own.parameters.values() if item.kind is not inspect.Parameter.VAR_KEYWORD]
    constants = [
        inspect.Parameter(item.name, inspect.Parameter.KEYWORD_ONLY, default=item.default)
        for item in fields(LungConstants)
    ]
    return own.replace(parameters=[*named, *constants])


isolate_step.__signature__ = _with_constants()  # type: ignore[attr-defined]
step("isolate_lungs")(isolate_step)
