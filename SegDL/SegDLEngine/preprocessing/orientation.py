"""The preprocessing step that puts an image into the patient's order."""

from __future__ import annotations

from dataclasses import replace

from SegDLEngine.images.image import Image
from SegDLEngine.preprocessing.lungs.orientation import PatientOrder
from SegDLEngine.preprocessing.registry import PreparedCase, step


@step("patient_order")
def patient_order(case: PreparedCase) -> PreparedCase:
    """Turn each array so that i runs to the patient's left, j to the back, k upwards (LPS).

    For networks that look at axial slices, whatever order a file has.  No voxel changes its value or its
    place; an oblique image takes the nearest axes and stays oblique.
    """

    def turned(image: Image) -> Image:
        order = PatientOrder.of(image.grid)
        return image.with_array(order.to_patient(image.array), order.grid(image.grid))

    masks = {name: turned(mask) for name, mask in case.masks.items()}
    labels = None if case.labels is None else turned(case.labels)
    return replace(case.map_images(turned), labels=labels, masks=masks)
