"""The body: the largest connected soft-tissue mass, and everything it encloses slice by slice."""

from __future__ import annotations

import cc3d
import numpy as np

from SegDLEngine.images.cropping import occupied
from SegDLEngine.preprocessing.lungs.components import edge_values, largest
from SegDLEngine.preprocessing.lungs.planes import dilate, erode, opening, pack, unpack

FREE_AIR_HU = -950.0
LUNG_HU = (-900.0, -400.0)
SMALLEST_CUT = 0.1
RIM_MM = 3.0
# Rows and columns kept around the body, enough to see a filling beside it.
MARGIN = 4


def find_tissue(
    hu: np.ndarray, spacing: tuple[float, float, float], tissue_hu: float, opening_mm: float
) -> np.ndarray:
    """The largest component of HU > ``tissue_hu`` after an in-plane opening; bool (k, j, i).

    The opening cuts what only touches the patient: table sheets, blankets, tubes.  What its erosion has
    separated lies at least two radii apart, so that every second row and column tell the components.
    """
    core = erode(hu > tissue_hu, spacing[1:], opening_mm)
    step = 2 if opening_mm >= 2 * max(spacing[1:]) else 1
    sampled = largest(core[:, ::step, ::step])
    if step > 1:
        # An odd row or column at the border of the core has its sample in the next block.
        sampled[:, :-1] |= sampled[:, 1:]
        sampled[:, :, :-1] |= sampled[:, :, 1:]
        rows, columns = core.shape[1:]
        core &= sampled.repeat(step, axis=1)[:, :rows].repeat(step, axis=2)[:, :, :columns]
    else:
        core = sampled
    return dilate(core, spacing[1:], opening_mm)


def find_padding(hu: np.ndarray) -> np.ndarray:
    """Voxels that no scanner measured, or that it clipped: at or below -1000 HU in constant 3x3 blocks, or
    below -1500 HU.

    Only what reaches the edge of its slice counts.  Fillings of a round field of view or of a rotated grid
    touch a lung that the field cuts; measured lung is never constant over a large area.
    """
    flat = hu <= -1000
    flat[:, :, 1:] &= hu[:, :, 1:] == hu[:, :, :-1]
    flat[:, 1:, :] &= hu[:, 1:, :] == hu[:, :-1, :]
    padding = unpack(_open_square(pack(flat)), hu.shape[0]) | (hu < -1500)
    for plane in padding:
        if plane.any():
            labels = cc3d.connected_components(plane, connectivity=4, binary_image=True)
            outer = np.zeros(int(labels.max()) + 1, bool)
            outer[edge_values(labels)] = True
            outer[0] = False
            plane &= outer[labels]
    return padding


def _open_square(packed: np.ndarray) -> np.ndarray:
    """Opening by the 2x2 square that looks left and up, on packed slices; beyond the edge counts as true."""
    eroded = packed.copy()
    eroded[:, :, :-1] &= packed[:, :, 1:]
    down = eroded.copy()
    eroded[:, :-1] &= down[:, 1:]
    opened = eroded.copy()
    opened[:, :, 1:] |= eroded[:, :, :-1]
    across = opened.copy()
    opened[:, 1:] |= across[:, :-1]
    return opened


def fill_body(
    hu: np.ndarray,
    tissue: np.ndarray,
    spacing: tuple[float, float, float],
    air_hu: float,
    minimum_mm2: float,
) -> tuple[np.ndarray, bool]:
    """The body with what it encloses (lungs, bowel, airways), and whether the field of view cuts a lung.

    What reaches the edge of a slice or the padding is outside, unless it is a lung that the field of view
    cuts: with the median density of parenchyma (``LUNG_HU``; pockets of air between skin folds measure less,
    as does emphysema, which is lost where it is cut) and held by tissue.  A volume without any free air, in
    which most of such parts are held, lies inside the patient: there all of them are lung.  A lung is told as
    cut when the part in a slice has ``minimum_mm2``; parts down to a tenth of that are kept.
    """
    minimum_pixels = minimum_mm2 / (spacing[1] * spacing[2])
    whole = np.zeros(hu.shape, bool)
    box = occupied(tissue, (0, MARGIN, MARGIN))
    if box is None:
        return whole, False
    region, hu, tissue = whole[box], hu[box], tissue[box]
    padding = find_padding(hu)
    doubtful: list[tuple[int, float, np.ndarray]] = []
    free_air = bool(padding.any())
    for k in range(hu.shape[0]):
        empty = ~tissue[k] & ~padding[k]
        labels = cc3d.connected_components(empty, connectivity=4, binary_image=True)
        counts = np.bincount(labels.ravel())
        at_edge = np.zeros(counts.size, bool)
        at_edge[edge_values(labels)] = True
        if padding[k].any():
            at_edge[labels[:, 1:][padding[k][:, :-1]]] = True
            at_edge[labels[:, :-1][padding[k][:, 1:]]] = True
            at_edge[labels[1:][padding[k][:-1]]] = True
            at_edge[labels[:-1][padding[k][1:]]] = True
        at_edge[0] = False
        inside = ~at_edge
        inside[0] = False
        region[k] = tissue[k] | inside[labels]
        for number in np.flatnonzero(at_edge & (counts >= SMALLEST_CUT * minimum_pixels)):
            middle = _median_air(hu[k], labels, number, air_hu)
            if FREE_AIR_HU < middle < LUNG_HU[1]:
                part = labels == number
                doubtful.append((k, middle, _without_rim(part, spacing) if padding[k].any() else part))
            free_air |= middle <= FREE_AIR_HU and bool(counts[number] >= minimum_pixels)
    held = [_held_by(part, tissue[k]) for k, _, part in doubtful]
    sizes = [int(np.count_nonzero(part)) for _, _, part in doubtful]
    inside_patient = not free_air and 2 * sum(np.multiply(held, sizes)) > sum(sizes)
    cut = False
    for (k, middle, part), is_held, size in zip(doubtful, held, sizes, strict=True):
        if inside_patient or (is_held and middle > LUNG_HU[0]):
            region[k] |= part
            cut = cut or size >= minimum_pixels
    return whole, cut


def _without_rim(part: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """A part of a slice without the line of partial volume that joins it along a filling."""
    core = opening(part[None], spacing[1:], RIM_MM)
    return part & dilate(core, spacing[1:], RIM_MM)[0]


def _median_air(hu: np.ndarray, labels: np.ndarray, number: int | np.integer, air_hu: float) -> float:
    """Median of the air of one label of a slice, from every third row and column; 0 without air."""
    values = hu[::3, ::3][labels[::3, ::3] == number]
    air = values[values < air_hu]
    return float(np.median(air)) if air.size else 0.0


def _held_by(part: np.ndarray, tissue: np.ndarray) -> bool:
    """Tissue behind a third of the columns of a part, as a lung has and the air below a patient has not."""
    columns = np.flatnonzero(part.any(axis=0))
    if columns.size == 0:
        return False
    last = part.shape[0] - 1 - np.argmax(part[::-1, columns], axis=0)
    rows = np.arange(part.shape[0])[:, None]
    behind = (tissue[:, columns] & (rows > last)).any(axis=0)
    return bool(behind.mean() >= 1 / 3)
