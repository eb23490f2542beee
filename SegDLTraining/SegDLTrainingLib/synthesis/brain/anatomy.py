"""The healthy brain: how much of each voxel is which tissue.

Shapes and places follow textbook proportions of an adult brain; folds come from random fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np

from SegDLTrainingLib.synthesis.brain.head import HeadSpace, sheet_distance
from SegDLTrainingLib.synthesis.space import coverage, smooth_field, smooth_maximum


@dataclass(frozen=True)
class Outline:
    """``brain``: signed distance (mm) to the surface of the brain, negative inside; ``mask``: what skull
    stripping keeps; ``cerebellum`` and ``stem``: distances to these parts."""

    brain: np.ndarray
    mask: np.ndarray
    cerebellum: np.ndarray
    stem: np.ndarray


@dataclass(frozen=True)
class Anatomy:
    """Shares 0..1 (k, j, i) of tissues; what none of them fills is white matter.

    ``rim``: closeness to the ventricles' walls, ``spots``: age-related spots of the white matter, ``vessels``
    and ``plexus``: what takes up contrast medium; ``ventricles``: signed distance (mm).
    """

    grey: np.ndarray
    nuclei: np.ndarray
    pallidum: np.ndarray
    fluid: np.ndarray
    rim: np.ndarray
    spots: np.ndarray
    vessels: np.ndarray
    plexus: np.ndarray
    ventricles: np.ndarray


def make_outline(space: HeadSpace, rng: np.random.Generator) -> Outline:
    """The outer shape, from a random size and proportions."""
    size = rng.uniform(0.87, 1.02) * rng.uniform(0.95, 1.05, 3)
    spacing = space.grid.spacing
    parts = []
    for side in (-1, 1):
        upper = space.ellipsoid(np.array([side * 20, 0, 18]) * size, np.array([49, 85, 55]) * size)
        upper = smooth_maximum(upper, -20 * size[2] - space.z, 8.0)
        temporal = space.ellipsoid(np.array([side * 40, -4, -18]) * size, np.array([27, 42, 21]) * size)
        parts += [upper, temporal]
    hemispheres = [
        space.ellipsoid(np.array([side * 20, 48, -34]) * size, np.array([33, 28, 25]) * size)
        for side in (-1, 1)
    ]
    cerebellum = np.minimum(*hemispheres)
    path = np.array([[0, 6, -6], [0, 14, -30], [0, 24, -70]]) * size
    stem = space.tube(path, np.array([14, 15, 9]) * size[0], reach_mm=30)
    brain = np.minimum.reduce([*parts, cerebellum, stem])
    # Skull stripping keeps the fluid of the gaps between the parts.
    closed = -reduce(lambda a, b: smooth_maximum(a, b, 14.0), [-part for part in (*parts, cerebellum, stem)])
    brain = brain + rng.uniform(1, 3) * smooth_field(space.grid.shape, spacing, 22, rng)
    brain = brain + rng.uniform(0.5, 1.5) * smooth_field(space.grid.shape, spacing, 9, rng)
    margin = rng.uniform(-1, 3) + rng.uniform(0, 1.5) * smooth_field(space.grid.shape, spacing, 15, rng)
    return Outline(brain, (brain < margin) | (closed < margin - 4), cerebellum, stem)


def make_anatomy(space: HeadSpace, outline: Outline, rng: np.random.Generator) -> Anatomy:
    """Folds, ventricles, nuclei, vessels and the marks of age."""
    atrophy = rng.uniform(0, 1)
    ventricles, plexus = _ventricles(space, atrophy, rng)
    pial, sulcus = _folds(space, outline, atrophy, rng)
    thickness = rng.uniform(2.3, 3.6)
    grey = coverage(pial - thickness, space.edge)
    # Brain stem and the middle round the ventricles have no cortex.
    bare = np.maximum(coverage(outline.stem, 6.0), coverage(ventricles - 3, 4.0))
    grey = grey * (1 - bare)
    nuclei, pallidum = _nuclei(space, rng)
    fluid = np.maximum.reduce(
        [
            coverage(sulcus, space.edge) * (1 - bare),
            coverage(ventricles, space.edge),
            coverage(-outline.brain, space.edge),
            _cisterns(space, rng),
        ]
    )
    white = np.clip(1 - grey - nuclei - fluid, 0, 1)
    rim, spots = _age(space, ventricles, white, rng)
    return Anatomy(
        grey=grey,
        nuclei=nuclei,
        pallidum=pallidum,
        fluid=fluid,
        rim=rim,
        spots=spots,
        vessels=_vessels(space, outline, sulcus, rng),
        plexus=plexus,
        ventricles=ventricles,
    )


def _folds(
    space: HeadSpace, outline: Outline, atrophy: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Distances (mm) below the folded surface, and to the fluid in the sulci (negative inside)."""
    shape, spacing = space.grid.shape, space.grid.spacing
    depth = np.maximum(-outline.brain, 0)
    sheet = sheet_distance(smooth_field(shape, spacing, rng.uniform(6.0, 9.5), rng), spacing)
    fine = sheet_distance(smooth_field(shape, spacing, 4.5, rng), spacing)
    sheet = np.where(outline.cerebellum < outline.stem, np.where(outline.cerebellum < 0, fine, sheet), sheet)
    reach = rng.uniform(13, 20) * (1 + 0.35 * smooth_field(shape, spacing, 25, rng))
    sheet = sheet + np.maximum(depth - reach, 0)
    for side in (-1, 1):
        sylvian = space.ellipsoid((side * 50, -6, -3), (20, 30, 1.5), turn_deg=side * 4)
        sheet = np.minimum(sheet, np.maximum(sylvian, 0))
    callosum = space.ellipsoid((0, 4, 6), (60, 42, 24))
    falx = np.maximum(np.abs(space.x), -callosum)
    falx = np.maximum(falx, -10 - space.z)
    sheet = np.minimum(sheet, np.maximum(falx, 0))
    pial = np.minimum(depth, sheet)
    width = (0.3 + 1.2 * atrophy) * np.clip(1.3 - depth / reach, 0.2, 1.3)
    width = width * np.exp(0.5 * smooth_field(shape, spacing, 18, rng))
    return pial, sheet - width


def _ventricles(space: HeadSpace, atrophy: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Signed distance (mm) to all ventricles, and the share of choroid plexus."""
    distance = np.minimum(
        space.ellipsoid((0, 4, 0), (1.5 + 2.5 * atrophy, 14, 10)),
        space.ellipsoid((0, 31, -32), (6, 4 + 2 * atrophy, 9)),
    )
    plexus = np.zeros(space.grid.shape, np.float32)
    size = 0.55 + 0.8 * atrophy
    for side in (-1, 1):
        wide = size * rng.uniform(0.85, 1.15)
        body = np.array(
            [[7, -34, 10], [11, -20, 17], [13, 0, 22], [17, 18, 20], [26, 33, 8], [33, 20, -8], [36, 2, -18]]
        )
        horn = np.array([[26, 33, 8], [25, 45, 7], [23, 58, 6]])
        mirror = np.array([side, 1, 1])
        distance = np.minimum(
            distance, space.tube(body * mirror, np.array([4, 6, 6, 6, 7, 3.5, 2]) * wide, 20)
        )
        distance = np.minimum(distance, space.tube(horn * mirror, np.array([5.5, 4, 1.5]) * wide, 20))
        if rng.random() < 0.8:
            lump = space.ellipsoid(body[4] * mirror, (rng.uniform(2, 4), rng.uniform(3, 7), 3))
            plexus = np.maximum(plexus, coverage(lump, space.edge))
    distance = distance + 0.7 * smooth_field(space.grid.shape, space.grid.spacing, 9, rng)
    return distance, plexus * coverage(distance, space.edge)


def _nuclei(space: HeadSpace, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Shares of the deep grey nuclei, and of the pallidum among them."""
    nuclei = np.zeros(space.grid.shape, np.float32)
    pallidum = np.zeros(space.grid.shape, np.float32)
    for side in (-1, 1):
        size = rng.uniform(0.9, 1.15)
        caudate = np.array([[side * 14, -26, 10], [side * 19, -8, 19], [side * 22, 10, 21]])
        for distance in (
            space.ellipsoid((side * 11, 9, 3), np.array([8, 14, 8]) * size),
            space.tube(caudate, np.array([6, 4.5, 2.5]) * size, 12),
            space.ellipsoid((side * 27, -4, 3), np.array([5.5, 17, 10]) * size, turn_deg=side * 12),
        ):
            nuclei = np.maximum(nuclei, coverage(distance, 2.5))
        inner = space.ellipsoid((side * 20, -1, 0), np.array([4.5, 10, 6]) * size, turn_deg=side * 20)
        pallidum = np.maximum(pallidum, coverage(inner, 2.5))
    return np.maximum(nuclei, pallidum), pallidum


def _cisterns(space: HeadSpace, rng: np.random.Generator) -> np.ndarray:
    """Share of the fluid at the base and behind the brain stem."""
    size = rng.uniform(0.7, 1.3)
    distance = np.minimum(
        space.ellipsoid((0, -14, -20), np.array([13, 12, 6]) * size),
        space.ellipsoid((0, 26, -4), np.array([10, 5, 7]) * size),
    )
    return coverage(distance + smooth_field(space.grid.shape, space.grid.spacing, 8, rng), space.edge)


def _age(
    space: HeadSpace, ventricles: np.ndarray, white: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Bright rim of the ventricles and spots of the white matter, both shares of white matter."""
    shape, spacing = space.grid.shape, space.grid.spacing
    reach = rng.uniform(0.5, 5) * np.exp(0.5 * smooth_field(shape, spacing, 12, rng))
    rim = np.clip(1 - np.maximum(ventricles, 0) / reach, 0, 1) * white * (ventricles < reach)
    level = rng.choice([9.0, 3.2, 2.6, 2.1], p=[0.35, 0.3, 0.2, 0.15])
    spots = np.clip(2 * (smooth_field(shape, spacing, 4.5, rng) - level), 0, 1) * white
    return rim, spots


def _vessels(space: HeadSpace, outline: Outline, sulcus: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Share of veins in the sulci, of the sinuses, and of patches of dura left by skull stripping."""
    shape, spacing = space.grid.shape, space.grid.spacing
    other = sheet_distance(smooth_field(shape, spacing, 9, rng), spacing)
    veins = np.hypot(np.maximum(sulcus, 0), other) - rng.uniform(0.2, 1.1)
    veins = np.maximum(veins, -outline.brain - 20)
    on_surface = np.abs(outline.brain) - rng.uniform(0.5, 2)
    dura = on_surface + 6 - 4 * smooth_field(shape, spacing, 16, rng)
    midline = np.hypot(space.x, outline.brain) - rng.uniform(1, 3)
    midline = np.maximum(midline, -space.z - 10)
    angles = np.linspace(-1.3, 1.3, 7)
    across = np.stack([50 * np.sin(angles), 30 + 45 * np.cos(angles), -12 - 6 * np.abs(angles)], axis=1)
    transverse = space.tube(across, rng.uniform(1, 3.5), 12)
    straight = space.tube(np.array([[0, 26, 2], [0, 48, 2], [0, 74, -8]]), rng.uniform(1, 2.5), 12)
    distance = np.minimum.reduce([veins, np.maximum(dura, on_surface), midline, transverse, straight])
    return coverage(distance, space.edge)
