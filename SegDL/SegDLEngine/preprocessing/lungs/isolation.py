"""The lung isolation of report 001, section 3: from a thorax CT to the region in which tumours are sought."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.preprocessing.lungs.air import grow
from SegDLEngine.preprocessing.lungs.body import fill_body, find_tissue
from SegDLEngine.preprocessing.lungs.components import split_by_area
from SegDLEngine.preprocessing.lungs.constants import LungConstants
from SegDLEngine.preprocessing.lungs.couch import find_couch
from SegDLEngine.preprocessing.lungs.dilation import add_margin
from SegDLEngine.preprocessing.lungs.hilum import add_hilum
from SegDLEngine.preprocessing.lungs.mirror import mirror_union, overhang
from SegDLEngine.preprocessing.lungs.orientation import PatientOrder
from SegDLEngine.preprocessing.lungs.pair import keep_pair
from SegDLEngine.preprocessing.lungs.planes import bounding_box, closing
from SegDLEngine.preprocessing.lungs.spine import SpineAxis, find_spine
from SegDLEngine.preprocessing.lungs.trachea import find_airways
from SegDLEngine.preprocessing.lungs.vessels import close_vessels

AIR_HU = -1000


@dataclass(frozen=True)
class LungIsolation:
    """Masks are bool-valued uint8 images (0, 1) on the grid of the CT.

    ``mask``: the region, after mirroring and margin; ``lungs``: the lungs themselves, before both; ``body``:
    the patient with what it encloses; ``couch``; ``airways``: trachea, main bronchi and small gas.
    ``spine_axis``: in the patient order of ``orientation``, None if there was no spine or no lung.
    ``report``: plain data (volumes in ml, seconds by stage, the axis, ``warnings`` as {code, text}).
    """

    mask: Image
    lungs: Image
    body: Image
    couch: Image
    airways: Image
    spine_axis: SpineAxis | None
    report: dict[str, Any]


@dataclass
class _Clock:
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 4)


def isolate_lungs(image: Image, **constants: Any) -> LungIsolation:
    """Isolate the lung region of a CT in HU; ``constants`` replace fields of ``LungConstants``.

    Order: body, couch, air inside the body, airways out, region growing, the pair, vessels closed, spine
    axis, hilum, mirrored union, closing, margin.  The closing (``smoothing_mm``) is the published code's
    opening of the complement, seven times by a disc of radius 4 pixels: it joins the lungs with a tumour at
    the mediastinum that neither reaches.  What lies outside the body is never part of the region.

    Without lung air all masks but the body are empty and the report warns with the code ``no_lungs``.
    Raises ModelError for an unknown constant.
    """
    settings = LungConstants.of(**constants)
    clock = _Clock()
    started = time.perf_counter()
    order = PatientOrder.of(image.grid)
    spacing = order.spacing(image.grid)
    pixel_mm2 = spacing[1] * spacing[2]
    warnings: list[dict[str, str]] = []
    with clock.stage("orient"):
        hu = order.to_patient(_as_int16(image.array))
    with clock.stage("body"):
        tissue = find_tissue(hu, spacing, settings.tissue_hu, settings.body_opening_mm)
        body, cut = fill_body(hu, tissue, settings.air_hu, settings.small_mm2 / pixel_mm2)
    with clock.stage("couch"):
        couch = find_couch(hu, body, spacing, settings.couch_hu, settings.couch_width, settings.couch_aspect)
    whole = bounding_box(body) or (slice(0, 0),) * 3
    hu_box, body_box = hu[whole], body[whole]
    with clock.stage("air"):
        air = (hu_box < settings.air_hu) & body_box
        large, small = split_by_area(air, settings.small_mm2 / pixel_mm2)
    with clock.stage("airways"):
        airways = find_airways(hu_box, air, small, spacing, settings.gas_hu)
    with clock.stage("growing"):
        grown = grow(large, air & ~airways)
    with clock.stage("pair"):
        lungs, counts = keep_pair(
            grown, hu_box, settings.minimum_ratio, settings.remnant_ratio, settings.gas_hu
        )
    if not counts:
        warnings.append(
            {"code": "no_lungs", "text": "No lung was found: the image has no air inside a body."}
        )
    with clock.stage("vessels"):
        lungs = close_vessels(lungs, spacing, settings.vessel_closing_mm, settings.hole_mm2)
        lungs &= body_box & ~airways
    with clock.stage("spine"):
        axis = find_spine(
            hu_box,
            body_box,
            lungs,
            spacing,
            bone_hu=settings.bone_hu,
            depth_mm=settings.spine_depth_mm,
            terms=settings.spine_terms,
            plateau=settings.spine_plateau,
            half_width=settings.spine_half_width,
            start_slices=settings.spine_start_slices,
            alpha=settings.spine_alpha,
            cut=cut,
        )
    if counts and axis is None:
        warnings.append({"code": "no_spine", "text": "No spine was found: the lungs were not mirrored."})
    left = right = 0
    with clock.stage("hilum"):
        columns, first = (axis.smoothed, axis.first) if axis is not None else (None, 0)
        hollow = add_hilum(lungs, columns, first, spacing, settings.hilum_mm)
    with clock.stage("mirror"):
        region = lungs
        if settings.mirror and axis is not None:
            left, right = overhang(lungs, axis.smoothed)
            region = np.pad(lungs, ((0, 0), (0, 0), (left, right)))
            region = mirror_union(region, axis.smoothed + left, axis.first)
    with clock.stage("smoothing"):
        region = closing(region, spacing[1:], settings.smoothing_mm)[:, :, left : left + lungs.shape[2]]
        region |= hollow
    with clock.stage("margin"):
        region = add_margin(region, spacing, settings.dilation_mm, settings.end_mm)
        region &= body_box & ~airways
    axis = _moved(axis, whole)
    with clock.stage("back"):
        grid, shape = image.grid, hu.shape

        def back(part: np.ndarray) -> Image:
            full = part
            if part.shape != shape:
                full = np.zeros(shape, bool)
                full[whole] = part
            return Image(order.from_patient(full).view(np.uint8), grid)

        images = {
            "mask": back(region),
            "lungs": back(lungs),
            "body": back(body),
            "couch": back(couch),
            "airways": back(airways),
        }
    clock.seconds["total"] = round(time.perf_counter() - started, 4)
    report = _report(images, counts, axis, order, cut, warnings, clock.seconds)
    return LungIsolation(**images, spine_axis=axis, report=report)


def _as_int16(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.int16:
        return array
    return np.clip(np.rint(np.nan_to_num(array, nan=AIR_HU)), -32768, 32767).astype(np.int16)


def _moved(axis: SpineAxis | None, box: tuple[slice, slice, slice]) -> SpineAxis | None:
    """The axis of a box in the columns, rows and slices of the whole volume."""
    if axis is None:
        return None
    left = box[2].start
    return SpineAxis(
        axis.first + box[0].start, axis.measured + left, axis.smoothed + left, axis.rows + box[1].start
    )


def _report(
    images: dict[str, Image],
    counts: list[int],
    axis: SpineAxis | None,
    order: PatientOrder,
    cut: bool,
    warnings: list[dict[str, str]],
    seconds: dict[str, float],
) -> dict[str, Any]:
    grid = images["mask"].grid
    report: dict[str, Any] = {
        f"{name}_ml": round(int(np.count_nonzero(image.array)) * grid.voxel_ml, 2)
        for name, image in images.items()
    }
    report["lung_components_ml"] = [round(count * grid.voxel_ml, 2) for count in counts]
    report["couch_found"] = report["couch_ml"] > 0
    report["lungs_cut_by_field_of_view"] = cut
    report["spine_axis"] = None if axis is None else _describe(axis, order, grid)
    report["warnings"] = warnings
    report["seconds"] = seconds
    return report


def _describe(axis: SpineAxis, order: PatientOrder, grid: Grid) -> dict[str, Any]:
    """The axis as plain data: columns of the patient order and LPS points (mm) by slice."""
    rows = np.where(np.isfinite(axis.rows), axis.rows, np.nanmean(axis.rows))
    kji = np.column_stack((axis.first + np.arange(axis.smoothed.size), rows, axis.smoothed))
    points = grid.to_physical(order.to_image_index(kji, grid))
    return {
        "first_slice": axis.first,
        "measured_columns": [None if np.isnan(value) else round(float(value), 2) for value in axis.measured],
        "columns": [round(float(value), 3) for value in axis.smoothed],
        "lowest_column": round(float(axis.smoothed.min()), 3),
        "highest_column": round(float(axis.smoothed.max()), 3),
        "points_lps_mm": np.round(points, 2).tolist(),
    }
