"""The lung isolation of report 001, section 3: from a thorax CT to the region in which tumours are sought."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from SegDLEngine.images.cropping import occupied
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.images.resampling import canonical_grid, resample
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
from SegDLEngine.preprocessing.lungs.planes import closing
from SegDLEngine.preprocessing.lungs.report import Clock, describe_axis, volumes
from SegDLEngine.preprocessing.lungs.spine import SpineAxis, find_spine
from SegDLEngine.preprocessing.lungs.trachea import find_airways, without_cavities
from SegDLEngine.preprocessing.lungs.vessels import close_vessels

AIR_HU = -1000
MASKS = ("mask", "lungs", "body", "couch", "airways")
# Sine of the angle to the patient's axes (about 2 degrees) from which an image is made straight first.
OBLIQUE = 0.035


@dataclass(frozen=True)
class LungIsolation:
    """Masks are bool-valued uint8 images (0, 1) on the grid of the CT.

    ``mask``: the region, after mirroring and margin; ``lungs``: the lungs themselves, before both; ``body``:
    the patient with what it encloses; ``couch``; ``airways``: trachea, main bronchi and small gas.
    ``spine_axis``: in the patient order of ``orientation`` (for an oblique CT, of its straight copy), None if
    there was no spine or no lung.
    ``report``: plain data (volumes in ml, seconds by stage, the axis, ``warnings`` as {code, text}).
    """

    mask: Image
    lungs: Image
    body: Image
    couch: Image
    airways: Image
    spine_axis: SpineAxis | None
    report: dict[str, Any]


def isolate_lungs(image: Image, **constants: Any) -> LungIsolation:
    """Isolate the lung region of a CT in HU; ``constants`` replace fields of ``LungConstants``.

    Order: body, couch, air inside the body, airways out, region growing, the pair, vessels closed, spine
    axis, hilum, mirrored union, closing, margin.  The closing (``smoothing_mm``) is the published code's
    opening of the complement, seven times by a disc of radius 4 pixels: it joins the lungs with a tumour at
    the mediastinum that neither reaches.  What lies outside the body is never part of the region.

    Flipped and permuted images are worked on in the patient's order; oblique ones are resampled to straight
    axes of about their own spacing, and the masks back by the nearest voxel.

    Without lung air all masks but the body are empty and the report warns with the code ``no_lungs``; without
    bone behind the lungs they are not mirrored (``no_spine``).  Raises ModelError for an unknown constant.
    """
    settings = LungConstants.of(**constants)
    clock = Clock()
    if not _is_oblique(image.grid):
        return _isolate(image, settings, clock)
    spacing = PatientOrder.of(image.grid).spacing(image.grid)
    with clock.stage("straighten"):
        straight = image.with_array(_as_int16(image.array))
        straight = resample(straight, canonical_grid(image.grid, spacing[::-1]), outside=AIR_HU)
    isolation = _isolate(straight, settings, clock)
    with clock.stage("return"):
        masks = _resampled({name: getattr(isolation, name) for name in MASKS}, image.grid)
    report = {**isolation.report, **volumes(masks), "seconds": clock.stop()}
    return LungIsolation(**masks, spine_axis=isolation.spine_axis, report=report)


def _isolate(image: Image, settings: LungConstants, clock: Clock) -> LungIsolation:
    order = PatientOrder.of(image.grid)
    spacing = order.spacing(image.grid)
    with clock.stage("orient"):
        hu = order.to_patient(_as_int16(image.array))
    with clock.stage("body"):
        tissue = find_tissue(hu, spacing, settings.tissue_hu, settings.body_opening_mm)
        body, cut = fill_body(hu, tissue, spacing, settings.air_hu, settings.small_mm2)
    with clock.stage("couch"):
        couch = find_couch(hu, body, spacing, settings.couch_hu, settings.couch_width, settings.couch_aspect)
    box = occupied(body) or (slice(0, 1), slice(0, 1), slice(0, 1))
    lungs, airways, counts = _find_lungs(hu[box], body[box], spacing, settings, clock)
    with clock.stage("spine"):
        axis = _find_axis(hu[box], body[box], lungs, spacing, settings, cut)
    region = _make_region(lungs, axis, spacing, settings, clock)
    region &= body[box] & ~airways

    def to_image(mask: np.ndarray) -> Image:
        full = mask
        if mask.shape != hu.shape:
            full = np.zeros(hu.shape, bool)
            full[box] = mask
        return Image(order.from_patient(full).view(np.uint8), image.grid)

    with clock.stage("back"):
        found = (region, lungs, body, couch, airways)
        masks = {name: to_image(mask) for name, mask in zip(MASKS, found, strict=True)}
    axis = _moved(axis, box)
    report = {
        **volumes(masks),
        "lung_components_ml": [round(count * image.grid.voxel_ml, 2) for count in counts],
        "couch_found": bool(couch.any()),
        "lungs_cut_by_field_of_view": cut,
        "spine_axis": None if axis is None else describe_axis(axis, image.grid),
        "warnings": _warnings(bool(counts), axis),
        "seconds": clock.stop(),
    }
    return LungIsolation(**masks, spine_axis=axis, report=report)


def _find_lungs(
    hu: np.ndarray,
    body: np.ndarray,
    spacing: tuple[float, float, float],
    settings: LungConstants,
    clock: Clock,
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """The lungs and the airways in the body's box, and the voxel counts of the lungs' components of air."""
    with clock.stage("air"):
        air = (hu < settings.air_hu) & body
        pixel_mm2 = spacing[1] * spacing[2]
        seeds, small = split_by_area(air, settings.seed_mm2 / pixel_mm2, settings.small_mm2 / pixel_mm2)
    with clock.stage("airways"):
        airways = find_airways(hu, air, small, spacing, settings.gas_hu)
    with clock.stage("growing"):
        grown = grow(seeds, air & ~airways)
    with clock.stage("pair"):
        pair, counts = keep_pair(grown, hu, settings.minimum_ratio, settings.remnant_ratio, settings.gas_hu)
        # A lung has a large cross-section somewhere; pockets of air in another part of the body have not.
        if not (pair & ~small).any():
            pair[:], counts = False, []
    with clock.stage("vessels"):
        lungs = close_vessels(pair, spacing, settings.vessel_closing_mm, settings.hole_mm2)
        airways = without_cavities(airways, lungs)
        lungs &= body & ~airways
    return lungs, airways, counts


def _find_axis(
    hu: np.ndarray,
    body: np.ndarray,
    lungs: np.ndarray,
    spacing: tuple[float, float, float],
    settings: LungConstants,
    cut: bool,
) -> SpineAxis | None:
    return find_spine(
        hu,
        body,
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


def _make_region(
    lungs: np.ndarray,
    axis: SpineAxis | None,
    spacing: tuple[float, float, float],
    settings: LungConstants,
    clock: Clock,
) -> np.ndarray:
    """The lungs mirrored, closed and widened.

    The mirror image is closed where it lies beside the image, too, so that a field of view that holds one
    lung only closes over the mediastinum as a whole one does.
    """
    columns, first = (axis.smoothed, axis.first) if axis is not None else (None, 0)
    with clock.stage("hilum"):
        hollow = add_hilum(lungs, columns, first, spacing, settings.hilum_mm)
    left = right = 0
    region = lungs
    with clock.stage("mirror"):
        if settings.mirror and columns is not None:
            left, right = overhang(lungs, columns)
            region = np.pad(lungs, ((0, 0), (0, 0), (left, right)))
            region = mirror_union(region, columns + left, first)
    with clock.stage("smoothing"):
        region = closing(region, spacing[1:], settings.smoothing_mm)[:, :, left : left + lungs.shape[2]]
    with clock.stage("margin"):
        return add_margin(region | hollow, spacing, settings.dilation_mm, settings.end_mm)


def _warnings(lungs_found: bool, axis: SpineAxis | None) -> list[dict[str, str]]:
    if not lungs_found:
        return [{"code": "no_lungs", "text": "No lung was found: the image shows no lung air inside a body."}]
    if axis is None:
        return [{"code": "no_spine", "text": "No spine was found behind the lungs: they were not mirrored."}]
    return []


def _resampled(masks: dict[str, Image], grid: Grid) -> dict[str, Image]:
    """The masks on ``grid`` by the nearest voxel, each carried as one bit of a single image."""
    bits = np.zeros(next(iter(masks.values())).array.shape, np.uint8)
    for number, mask in enumerate(masks.values()):
        bits |= mask.array << np.uint8(number)
    carrier = Image(bits, next(iter(masks.values())).grid)
    moved = resample(carrier, grid, interpolation="nearest", outside=0).array
    return {name: Image((moved >> np.uint8(number)) & 1, grid) for number, name in enumerate(masks)}


def _is_oblique(grid: Grid) -> bool:
    """True if an axis of the grid leaves the patient's axes by more than ``OBLIQUE``."""
    return bool(np.sort(np.abs(grid.axes), axis=0)[:2].max() > OBLIQUE)


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
