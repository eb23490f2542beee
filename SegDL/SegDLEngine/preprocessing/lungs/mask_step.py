"""The preprocessing step ``lung_mask``: the lungs, found in one of three ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from SegDLEngine.preprocessing.lungs.methods import find_lungs
from SegDLEngine.preprocessing.lungs.unet import LUNG_MODEL
from SegDLEngine.preprocessing.masking import mask_outside
from SegDLEngine.preprocessing.registry import PreparedCase, step


@step("lung_mask")
def lung_mask(
    case: PreparedCase,
    *,
    method: str = "classical",
    model: str = LUNG_MODEL,
    outside: float | None = 0.0,
    constants: Mapping[str, Any] | None = None,
) -> PreparedCase:
    """Add the mask ``lungs`` and set the reference CT (HU) to ``outside`` beyond it; None leaves it as it is.

    ``method``, ``model`` and ``constants`` as of ``methods.find_lungs``; the mask of ``classical`` is the
    region of report 001, mirrored and with its margin, so that it holds consolidated lung, too.  Where no
    lung is found nothing is masked; every finding is a warning.
    """
    reference = case.images[case.reference]
    found = find_lungs(
        reference, method, model=model, constants=constants, device=case.device, reporter=case.reporter
    )
    for warning in found.report["warnings"]:
        case.reporter.warning(warning["code"], warning["text"])
    case = case.with_mask("lungs", found.mask)
    if outside is None or not found.mask.array.any():
        return case
    return mask_outside(case, mask="lungs", value=outside, inputs=[case.reference])
