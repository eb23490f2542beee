"""Lungs by a watershed in every slice, the first way of report 003.

The report names no source; the method and its numbers are those of a public notebook of the Data Science Bowl
2017.  Its structures of pixels are taken as millimetres, so that every pixel size is treated alike.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import cc3d
import numpy as np

from SegDLEngine.errors import ModelError
from SegDLEngine.images.cropping import occupied
from SegDLEngine.images.image import Image
from SegDLEngine.preprocessing.lungs.components import edge_values, label
from SegDLEngine.preprocessing.lungs.lung_mask import NO_LUNGS, LungMask
from SegDLEngine.preprocessing.lungs.orientation import PatientOrder
from SegDLEngine.preprocessing.lungs.planes import close_by_rows, outline
from SegDLEngine.preprocessing.lungs.report import Clock, volumes

INSIDE, OUTSIDE = 2, 1
TOLERANCE_MM = 1e-3


@dataclass(frozen=True)
class WatershedConstants:
    """What a model card may state; ``remnant_ratio`` is ours, the others are published."""

    air_hu: float = -400.0
    rim_mm: float = 10.0
    hat_half_mm: float = 24.0
    hat_corner_mm: float = 32.0
    closing_half_mm: float = 6.0
    remnant_ratio: float = 0.05

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or (field.name != "air_hu" and not 0 <= value < float("inf")):
                raise ModelError(
                    f"Constant '{field.name}' of the watershed lungs is {value!r}, no number from 0 on.",
                    hint=f"Its default is {field.default!r}.",
                )


def watershed_lungs(image: Image, **constants: float) -> LungMask:
    """The lungs of a CT in HU, slice by slice; ``constants`` replace fields of ``WatershedConstants``.

    1. Marker of the lungs: the two largest 8-connected parts below ``air_hu`` that do not touch the edge.
    2. Marker of the rest: what is farther than ``rim_mm`` from it (city block).  The notebook stops this
       marker at 55 pixels; it encloses what lies beyond, which therefore floods to the same label.
    3. Watershed of the Sobel gradient from both markers.
    4. The outline of the flooded lungs, closed by an octagon of 49x49 pixels (its black top-hat added), takes
       in vessels and what is dense at the pleura; with the marker of the lungs, closed by a square of 13x13.
    5. Of the volume, components of less than ``remnant_ratio`` of the largest are left out: bowel gas.

    Lungs that the field of view cuts touch the edge and are lost.  Raises ModelError for a wrong constant.
    """
    settings = _settings(constants)
    clock = Clock()
    order = PatientOrder.of(image.grid)
    spacing = order.spacing(image.grid)
    with clock.stage("markers"):
        hu = order.to_patient(image.array)
        inner = np.stack([inner_marker(plane < settings.air_hu) for plane in hu])
    with clock.stage("watershed"):
        flooded = np.zeros(inner.shape, bool)
        for k in np.flatnonzero(inner.any(axis=(1, 2))):
            flooded[k] = flood(hu[k], inner[k], spacing[1:], settings.rim_mm)
    with clock.stage("closing"):
        rim = outline(flooded)
        rim = close_by_rows(rim, octagon(spacing[1:], settings.hat_half_mm, settings.hat_corner_mm))
        lungs = close_by_rows(inner | rim, square(spacing[1:], settings.closing_half_mm))
    with clock.stage("remnants"):
        lungs = without_remnants(lungs, settings.remnant_ratio)
    mask = Image(order.from_patient(lungs).view(np.uint8), image.grid)
    report = {
        **volumes({"lungs": mask, "mask": mask}),
        "warnings": [] if lungs.any() else [NO_LUNGS],
        "seconds": clock.stop(),
    }
    return LungMask(mask, mask, report)


def _settings(constants: dict[str, Any]) -> WatershedConstants:
    known = [field.name for field in fields(WatershedConstants)]
    for name in constants:
        if name not in known:
            raise ModelError(
                f"The watershed lungs have no constant '{name}'.", hint=f"Constants: {', '.join(known)}."
            )
    return WatershedConstants(**constants)


def inner_marker(air: np.ndarray) -> np.ndarray:
    """The two largest 8-connected parts of ``air`` (j, i) that do not touch the edge; ties with the second
    stay, too."""
    labels = cc3d.connected_components(air, connectivity=8, binary_image=True)
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    areas[edge_values(labels)] = 0
    least = np.sort(areas)[-2] if areas.size > 1 else 0
    return ((areas > 0) & (areas >= least))[labels]


def flood(plane: np.ndarray, inner: np.ndarray, spacing: tuple[float, float], rim_mm: float) -> np.ndarray:
    """What floods from ``inner`` and not from farther than ``rim_mm`` (city block); bool (j, i)."""
    import SimpleITK

    reach = [int(rim_mm / step) + 2 for step in spacing]
    found = occupied(inner[None], (0, reach[0], reach[1]))
    result = np.zeros(inner.shape, bool)
    if found is None:
        return result
    box = found[1:]
    markers = np.zeros(inner[box].shape, np.uint8)
    markers[city_block(inner[box], spacing) > rim_mm + TOLERANCE_MM] = OUTSIDE
    markers[inner[box]] = INSIDE
    flooded = SimpleITK.MorphologicalWatershedFromMarkers(
        SimpleITK.GetImageFromArray(gradient(plane)[box]),
        SimpleITK.GetImageFromArray(markers),
        markWatershedLine=False,
        fullyConnected=False,
    )
    result[box] = SimpleITK.GetArrayViewFromImage(flooded) == INSIDE
    return result


def gradient(plane: np.ndarray) -> np.ndarray:
    """Squared magnitude of the Sobel gradient (j, i), the edge mirrored; int32 for int16 values.

    It floods in the same order as the magnitude normalised to 255 of the notebook.
    """
    kind = np.float32 if plane.dtype.kind == "f" else np.int32
    wide = np.pad(plane.astype(kind), 1, mode="symmetric")
    down = wide[:-2] + 2 * wide[1:-1] + wide[2:]
    across = wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]
    along_i, along_j = down[:, 2:] - down[:, :-2], across[2:] - across[:-2]
    return along_i * along_i + along_j * along_j


def city_block(mask: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """City-block distance in mm of each pixel (j, i) to the nearest true one; replaces repeated dilations
    by the cross."""
    distance = np.where(mask, np.float32(0), np.float32(1e6))
    for axis, step in enumerate(spacing):
        place = np.arange(mask.shape[axis], dtype=np.float32) * np.float32(step)
        place = place[:, None] if axis == 0 else place
        ahead = np.minimum.accumulate(distance - place, axis) + place
        back = np.flip(np.minimum.accumulate(np.flip(distance + place, axis), axis), axis) - place
        distance = np.minimum(ahead, back)
    return distance


def octagon(spacing: tuple[float, float], half_mm: float, corner_mm: float) -> list[int]:
    """Row widths, as of ``planes.disk_widths``, of the square with ``half_mm`` on each side without the
    corners whose city-block distance is above ``corner_mm``.

    24 and 32 at 1 mm are the published disc of 7x7 pixels, dilated by itself seven times.
    """
    rows = np.arange(int((half_mm + TOLERANCE_MM) / spacing[0]) + 1) * spacing[0]
    return ((np.minimum(half_mm, corner_mm - rows) + TOLERANCE_MM) / spacing[1]).astype(int).tolist()


def square(spacing: tuple[float, float], half_mm: float) -> list[int]:
    """Row widths of a square with ``half_mm`` on each side."""
    return octagon(spacing, half_mm, 2 * half_mm)


def without_remnants(mask: np.ndarray, ratio: float) -> np.ndarray:
    """``mask`` (k, j, i) without 6-connected components of less than ``ratio`` of the largest."""
    result = mask.copy()
    box = occupied(mask)
    if box is not None:
        labels, count = label(mask[box])
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        sizes[0] = 0
        kept = sizes >= max(ratio * sizes.max(), 1)
        result[box] = kept[labels]
    return result
