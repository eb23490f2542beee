"""The preprocessing step that recognises a CT stored as an 8-bit display window and restores its HU.

Ten of the twenty cases of COVID-19-CT-Seg (Zenodo 3757476) are stored like this, the others in HU.
"""

from __future__ import annotations

from collections.abc import Sequence

from SegDLEngine.errors import ModelError
from SegDLEngine.images.display_window import hounsfield, is_windowed
from SegDLEngine.images.image import Image
from SegDLEngine.preprocessing.registry import PreparedCase, step


@step("recognise_window")
def recognise_window(
    case: PreparedCase, *, low: float = -1250, high: float = 250, inputs: Sequence[str] | None = None
) -> PreparedCase:
    """Map CT images of grey values 0..255 to the window [low, high] HU (float32), with a warning.

    Images in HU stay; so do those that this step has made, because the middle of the window must lie below 0,
    as in all windows for lungs.  It must be the first step: air of -1000 HU that another one adds would hide
    the grey values.  With it in the card, such an image passes the check of the inputs.
    """
    if not low < high < -low:
        raise ModelError(f"Step 'recognise_window': {low} to {high} HU is no window with its middle below 0.")

    def apply(image: Image) -> Image:
        if image.modality not in ("", "CT") or not is_windowed(image.array):
            return image
        case.reporter.warning(
            "display-window",
            f"The CT has grey values 0 to 255; it is taken as a display window of {low:g} to {high:g} HU.",
        )
        return image.with_array(hounsfield(image.array, low, high))

    return case.map_images(apply, inputs)
