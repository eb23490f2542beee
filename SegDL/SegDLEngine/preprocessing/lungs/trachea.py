"""The trachea, the main airways and bowel gas: small in every slice, and filled with gas."""

from __future__ import annotations

import cc3d
import numpy as np

from SegDLEngine.images.cropping import occupied
from SegDLEngine.preprocessing.lungs.components import label
from SegDLEngine.preprocessing.lungs.planes import dilate, opening

LARGEST_MM2 = 1000.0
GROWTH, ALLOWANCE_MM2 = 1.3, 50.0
NOISE_MM, WALL_MM = 1.5, 1.5
NEAR_MM = 30.0


def find_airways(
    hu: np.ndarray, air: np.ndarray, small: np.ndarray, spacing: tuple[float, float, float], gas_hu: float
) -> np.ndarray:
    """Airways and small gas among ``air``, bool (k, j, i).

    First the components of ``small`` (air whose component is small in its slice) with a median below
    ``gas_hu``.  Report 001 drops every small component, which also takes apex, base and thin recesses of the
    lungs; the density tells them apart: gas about -1000 HU, parenchyma about -850 HU.  Then their
    continuation in slices where they touch a lung or its cut edge.
    """
    return follow(hu, air, _small_gas(hu, small, gas_hu), spacing, gas_hu)


def _small_gas(hu: np.ndarray, small: np.ndarray, gas_hu: float) -> np.ndarray:
    labels, count = label(small)
    place = np.flatnonzero(small)
    owner = labels.ravel()[place]
    counts = np.bincount(owner, minlength=count + 1)
    below = np.bincount(owner, weights=hu.ravel()[place] < gas_hu, minlength=count + 1)
    gas = 2 * below > counts
    gas[0] = False
    return gas[labels]


def without_cavities(airways: np.ndarray, lungs: np.ndarray) -> np.ndarray:
    """``airways`` less the components that lie for more than half inside the closed ``lungs``: cavities of a
    tumour and bullae are gas, too, but no airway."""
    result = airways.copy()
    box = occupied(airways)
    if box is not None:
        labels, count = label(airways[box])
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        inside = np.bincount(labels[lungs[box]], minlength=count + 1)
        outer = 2 * inside <= sizes
        outer[0] = False
        result[box] = outer[labels]
    return result


def follow(
    hu: np.ndarray,
    air: np.ndarray,
    airways: np.ndarray,
    spacing: tuple[float, float, float],
    gas_hu: float,
) -> np.ndarray:
    """``airways`` continued from slice to slice, upwards and downwards, through gas that touches them.

    A continuation is a component of HU < ``gas_hu`` (opened against noise) that overlaps the airway of the
    slice before and is hardly larger: by ``GROWTH`` and ``ALLOWANCE_MM2`` at most, and no more than
    ``LARGEST_MM2``; a larger one has run out into emphysema or open air.  Its rim of partial volume,
    ``WALL_MM`` wide, belongs to it.
    """
    result = airways.copy()
    pixel_mm2 = spacing[1] * spacing[2]
    box = occupied(airways, (0, round(NEAR_MM / spacing[1]), round(NEAR_MM / spacing[2])))
    if box is None:
        return result
    found = result[box]
    gas = opening(air[box] & (hu[box] < gas_hu), spacing[1:], NOISE_MM)
    last = found.shape[0] - 1
    for step, order in ((1, range(1, last + 1)), (-1, range(last - 1, -1, -1))):
        for k in order:
            before = found[k - step]
            if not (gas[k] & before & ~found[k]).any():
                continue
            accepted = _continuation(gas[k], before, pixel_mm2)
            found[k] |= dilate(accepted[None], spacing[1:], WALL_MM)[0] & air[box][k]
    return result


def _continuation(gas: np.ndarray, before: np.ndarray, pixel_mm2: float) -> np.ndarray:
    """The components of ``gas`` (j, i) that continue ``before``, a slice further."""
    here = cc3d.connected_components(gas, connectivity=4, binary_image=True)
    there = cc3d.connected_components(before, connectivity=4, binary_image=True)
    areas, former = np.bincount(here.ravel()), np.bincount(there.ravel())
    accepted = np.zeros(areas.size, bool)
    for number in np.unique(here[before & gas]):
        origin = np.unique(there[(here == number) & before])
        limit = GROWTH * former[origin].sum() * pixel_mm2 + ALLOWANCE_MM2
        accepted[number] = areas[number] * pixel_mm2 <= min(limit, LARGEST_MM2)
    return accepted[here]
