"""Tumours of soft tissue, head and neck: drawn shapes whose label is exact, with uneven uptake.

The label is the whole mass, with its cold or necrotic parts, as a radiotherapist outlines it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import numpy as np

from SegDLTrainingLib.synthesis.petct.body import Body
from SegDLTrainingLib.synthesis.space import Box, coverage, paint
from SegDLTrainingLib.synthesis.tumours import tumour_shape

SMALLEST_ML = 0.5
# How a tumour's uptake is spread, and how often.
PATTERNS = {"even": 0.28, "patchy": 0.34, "necrotic": 0.22, "half cold": 0.16}


@dataclass(frozen=True)
class Lesion:
    """``peak_suv`` before the scanner blurs it; ``pattern`` is a key of ``PATTERNS``."""

    diameter_mm: float
    peak_suv: float
    pattern: str


def add_lesion(body: Body, label: np.ndarray, largest_mm: float) -> Lesion | None:
    """Grow one tumour in the soft tissue and set ``label`` to 1 there; None where none could grow.

    The diameter is drawn log-uniformly from 10 mm to ``largest_mm``, the peak SUV from 3.2 to 22.
    """
    rng, space = body.rng, body.space
    diameter = float(np.exp(rng.uniform(np.log(10), np.log(largest_mm))))
    centre = _find_place(body, label, diameter)
    box = None if centre is None else space.box(centre, 0.95 * diameter + 16)
    if centre is None or box is None:
        return None
    shape = tumour_shape(space, box, centre, diameter / 2, rng)
    free = 1 - body.blocked[box]
    inside = _largest_part((shape < 0) & (free > 0.5) & (label[box] == 0))
    if inside.sum() * space.grid.voxel_ml < SMALLEST_ML:
        return None
    # The scanner blurs small ones: below 20 mm a faint one could not be told from its surroundings.
    faintest = 5.5 if diameter < 20 else 3.2
    peak = float(np.exp(rng.uniform(np.log(faintest), np.log(22))))
    lesion = Lesion(diameter, peak, _pattern(diameter, rng))
    _bulge(body, box, shape)
    if rng.random() < 0.35:
        _halo(body, box, shape, free)
    hu, suv = _tissue(body, box, shape, lesion)
    share = coverage(shape, space.edge * rng.uniform(0.9, 2.2)) * free
    paint(body.ct, share, hu, box)
    paint(body.suv, share, suv, box)
    label[box][inside] = 1
    return lesion


def _pattern(diameter: float, rng: np.random.Generator) -> str:
    if diameter < 18:
        return str(rng.choice(["even", "patchy"]))
    return str(rng.choice(list(PATTERNS), p=list(PATTERNS.values())))


def _find_place(body: Body, label: np.ndarray, diameter: float) -> np.ndarray | None:
    """Patient coordinates of a point in free soft tissue, near a seat of the region if it has any."""
    rng, space = body.rng, body.space
    if body.seats and rng.random() < 0.85:
        for _ in range(20):
            at = body.seats[int(rng.integers(len(body.seats)))] + rng.normal(0, 6, 3)
            index = np.rint(space.voxels(at[None])[0]).astype(int)[::-1]
            if np.all(index >= 3) and np.all(index < np.asarray(label.shape) - 3):
                return at
    # Masses under the skin are common in limbs; deep ones keep most of their radius below it.
    shallow = -0.35 * diameter * rng.random()
    free = (body.skin < min(shallow, -3)) & (body.blocked < 0.5) & (label == 0)
    # Most archives keep a margin round the tumour; some tumours are cut off by the volume's border.
    inner = np.zeros_like(free)
    margin = [size // 4 if rng.random() < 0.8 else 3 for size in free.shape]
    inner[tuple(slice(side, -side) for side in margin)] = True
    candidates = np.flatnonzero((free & inner).ravel())
    if not len(candidates):
        candidates = np.flatnonzero(free.ravel())
    if not len(candidates):
        return None
    voxel = np.unravel_index(int(rng.choice(candidates)), label.shape)
    return np.array([space.x[voxel], space.y[voxel], space.z[voxel]], float)


def _largest_part(inside: np.ndarray) -> np.ndarray:
    parts, count = cc3d.connected_components(inside, connectivity=6, return_N=True)
    if count < 2:
        return inside
    return parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))


def _bulge(body: Body, box: Box, shape: np.ndarray) -> None:
    """Skin over the part of the tumour that rises above the surface."""
    cover = shape - body.rng.uniform(2, 5)
    above = np.maximum(cover, -body.skin[box])
    body.fill(above, body.tissues.fat_hu + 80, body.tissues.fat_suv * 1.5, box)
    np.minimum(body.skin[box], cover, out=body.skin[box])


def _halo(body: Body, box: Box, shape: np.ndarray, free: np.ndarray) -> None:
    """Oedema or reaction round the tumour: not part of it, though its uptake is raised a little."""
    rng = body.rng
    reach = rng.uniform(5, 18)
    share = np.clip(1 - shape / reach, 0, 1) * free * (body.skin[box] < -2)
    share *= np.clip(0.7 + 0.4 * body.texture(20.0, box), 0, 1)
    paint(body.ct, 0.5 * share, rng.uniform(10, 30), box)
    paint(body.suv, share, body.suv[box] + rng.uniform(0.1, 0.9), box)


def _tissue(body: Body, box: Box, shape: np.ndarray, lesion: Lesion) -> tuple[np.ndarray, np.ndarray]:
    """CT number and uptake of the tumour's tissue over the box."""
    rng, tissues, radius = body.rng, body.tissues, lesion.diameter_mm / 2
    grain = max(0.45 * radius, 6.0)
    hu = tissues.muscle_hu + rng.normal(-8, 16) + rng.uniform(2, 9) * body.texture(grain, box)
    if rng.random() < 0.07:
        hu = rng.uniform(-70, 10) + rng.uniform(10, 30) * body.texture(grain, box)
    if rng.random() < 0.12:
        hu = hu + 300 * (body.texture(max(0.3 * radius, 5.0), box) > 2.0)
    fine = body.texture(max(0.28 * radius, 5.5), box)
    uptake = np.clip(0.82 + rng.uniform(0.04, 0.16) * fine, 0.3, 1.15)
    cold = rng.uniform(0.06, 0.4)
    if lesion.pattern == "patchy":
        active = 1 / (1 + np.exp(-rng.uniform(1.2, 3.5) * (fine + rng.uniform(-0.5, 0.8))))
        uptake = uptake * (cold + (1 - cold) * active)
    elif lesion.pattern == "necrotic":
        depth = shape + rng.uniform(0.2, 0.6) * radius + 0.22 * radius * body.texture(grain, box)
        core = np.clip(0.5 - depth / (0.25 * radius), 0, 1)
        uptake = uptake * (1 - core * (1 - cold * 0.6))
        hu = hu + core * (rng.uniform(5, 25) - hu) * 0.8
    elif lesion.pattern == "half cold":
        x, y, z = body.space.at(box)
        way = rng.normal(size=3)
        way /= np.linalg.norm(way)
        ahead = way[0] * x + way[1] * y + way[2] * z
        inside = shape < 0
        edge = np.quantile(ahead[inside], rng.uniform(0.3, 0.7)) if inside.any() else 0.0
        wavy = ahead - edge + 0.3 * radius * body.texture(grain, box)
        rim = np.clip(1 + shape / rng.uniform(3, 8), 0, 1) if rng.random() < 0.5 else 0.0
        warm = np.clip(np.clip(0.5 + wavy / (0.25 * radius), 0, 1) + 0.7 * rim, 0, 1)
        uptake = uptake * (cold + (1 - cold) * warm)
        hu = hu - (1 - warm) * rng.uniform(0, 25)
    floor = rng.uniform(0.4, 1.2) * tissues.muscle_suv
    return hu.astype(np.float32), np.maximum(lesion.peak_suv * uptake, floor).astype(np.float32)
