"""The part of a body that a case shows: CT numbers and uptake on one grid, painted shape by shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from SegDLTrainingLib.synthesis.space import EVERYWHERE, Box, Space, coverage, paint, smooth_field

AIR_HU = -1000.0

# Patient coordinates (x, y, z) in mm, or a direction.
Point = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class Tissues:
    """What varies between patients: uptake of the quiet tissues (SUV) and CT numbers (HU)."""

    muscle_suv: float
    fat_suv: float
    marrow_suv: float
    blood_suv: float
    muscle_hu: float
    fat_hu: float
    blood_hu: float

    @classmethod
    def random(cls, rng: np.random.Generator) -> Tissues:
        level = float(np.exp(rng.normal(0, 0.22)))
        enhanced = rng.random() < 0.4
        return cls(
            muscle_suv=0.62 * level * rng.uniform(0.75, 1.3),
            fat_suv=0.27 * level * rng.uniform(0.6, 1.4),
            marrow_suv=0.9 * level * rng.uniform(0.5, 1.7),
            blood_suv=1.5 * level * rng.uniform(0.7, 1.3),
            muscle_hu=rng.uniform(42, 62) + (8 if enhanced else 0),
            fat_hu=rng.uniform(-115, -90),
            blood_hu=rng.uniform(90, 200) if enhanced else rng.uniform(35, 50),
        )


@dataclass
class Body:
    """``ct`` (HU) and ``suv`` as float32 (k, j, i) in ``space``, and where tumours may lie.

    ``blocked`` (0..1) is the share of a voxel that no tumour takes: bone, air, organs.  ``skin`` is the
    signed distance (mm, negative inside) to the surface.  ``seats`` are points (patient coordinates, mm)
    round which the tumours of this region are found; without seats they lie anywhere in the soft tissue.
    """

    space: Space
    tissues: Tissues
    rng: np.random.Generator
    ct: np.ndarray
    suv: np.ndarray
    blocked: np.ndarray
    skin: np.ndarray
    seats: list[np.ndarray] = field(default_factory=list)

    @classmethod
    def empty(cls, space: Space, rng: np.random.Generator) -> Body:
        shape = space.grid.shape
        return cls(
            space,
            Tissues.random(rng),
            rng,
            np.full(shape, AIR_HU, np.float32),
            np.zeros(shape, np.float32),
            np.zeros(shape, np.float32),
            np.full(shape, 1e3, np.float32),
        )

    def fill(
        self, distance: np.ndarray, hu: np.ndarray | float, suv: np.ndarray | float,
        box: Box = EVERYWHERE, blocks: bool = False,
    ) -> None:  # fmt: skip
        """Paint tissue where ``distance`` (mm) is negative; with ``blocks`` no tumour grows there."""
        share = coverage(distance, self.space.edge)
        paint(self.ct, share, hu, box)
        paint(self.suv, share, suv, box)
        paint(self.blocked, share, 1.0 if blocks else 0.0, box)

    def texture(self, wavelength_mm: float, box: Box = EVERYWHERE) -> np.ndarray:
        """Smooth random field of mean 0 and standard deviation 1 over the box."""
        return smooth_field(self.ct[box].shape, self.space.grid.spacing, wavelength_mm, self.rng)

    def blob(
        self, centre: Point, radii: Point | float, hu: float, suv: float,
        uneven: float = 0.1, blocks: bool = False,
    ) -> None:  # fmt: skip
        """An ellipsoid with a wavy surface; ``uneven`` is the relative spread of its uptake."""
        sides = np.broadcast_to(np.asarray(radii, float), (3,)) * np.exp(self.rng.normal(0, 0.06, 3))
        box = self.space.box(np.asarray(centre), float(sides.max()) * 1.25 + self.space.edge)
        if box is None:
            return
        wavy = self.texture(max(float(sides.mean()), 6.0), box)
        distance = self.space.ellipsoid(centre, sides, box=box) + 0.1 * float(sides.min()) * wavy
        uptake = suv * np.clip(1 + uneven * self.texture(max(0.5 * float(sides.mean()), 5.0), box), 0.2, 3)
        self.fill(distance, hu, uptake, box, blocks)

    def bone(
        self, distance: np.ndarray, cortex_mm: float, box: Box = EVERYWHERE, marrow_hu: float | None = None
    ) -> None:
        """Cortex over marrow; bones block tumours."""
        hu = self.rng.uniform(-60, 180) if marrow_hu is None else marrow_hu
        marrow = self.tissues.marrow_suv * self.rng.uniform(0.7, 1.3)
        self.fill(distance, self.rng.uniform(550, 1300), 0.4 * marrow, box, blocks=True)
        self.fill(distance + cortex_mm, hu, marrow, box, blocks=True)

    def long_bone(self, start: Point, end: Point, radii: tuple[float, float], cortex_mm: float) -> None:
        """A straight bone whose radius goes from ``radii[0]`` to ``radii[1]``."""
        ends = np.asarray([start, end], float)
        box = self.space.box(ends, max(radii) + self.space.edge)
        if box is not None:
            self.bone(self.space.capsule(ends[0], ends[1], radii, box), cortex_mm, box)

    def vessel(self, points: Sequence[Point], radius: float) -> None:
        """A blood vessel through ``points``."""
        distance = self.space.tube(np.asarray(points, float), radius, reach_mm=radius + 4)
        self.fill(distance, self.tissues.blood_hu, self.tissues.blood_suv * self.rng.uniform(0.8, 1.2))


def cylinder(
    space: Space, centre: Point, axis: Point, radii: Point,
    turn_deg: float = 0.0, taper: float = 0.0,
) -> np.ndarray:  # fmt: skip
    """Signed distance (mm, about) to an endless elliptic cylinder; radii grow by ``taper`` per mm of axis."""
    along = np.asarray(axis, float) / np.linalg.norm(axis)
    side = np.cross(along, (np.sin(np.deg2rad(turn_deg)), -np.cos(np.deg2rad(turn_deg)), 0.0))
    side /= np.linalg.norm(side)
    other = np.cross(along, side)
    dx, dy, dz = (axis - np.float32(at) for axis, at in zip((space.x, space.y, space.z), centre, strict=True))
    u, v, w = (
        np.float32(vector[0]) * dx + np.float32(vector[1]) * dy + np.float32(vector[2]) * dz
        for vector in (side, other, along)
    )
    growth = np.clip(1 + np.float32(taper) * w, 0.4, 2.5)
    norm = np.sqrt((u / np.float32(radii[0])) ** 2 + (v / np.float32(radii[1])) ** 2) / growth
    return (norm - 1) * np.float32(np.sqrt(radii[0] * radii[1]))


def paint_soft_tissue(body: Body, fat_mm: float, muscles: int, axis: Point = (0.0, 0.0, 1.0)) -> np.ndarray:
    """Skin, fat and a group of muscles inside ``body.skin``; the signed distance (mm) to the muscles.

    Muscles run along ``axis`` and are parted by sheets of fat.
    """
    rng, tissues = body.rng, body.tissues
    body.fill(body.skin, rng.uniform(-10, 35), tissues.fat_suv * 1.6)
    body.fill(body.skin + rng.uniform(1.2, 2.4), tissues.fat_hu, tissues.fat_suv)
    streaky = np.float32(rng.uniform(3, 14)) * body.texture(rng.uniform(7, 18))
    body.ct += streaky * (body.skin < -3)
    depth = fat_mm * np.clip(1 + 0.4 * body.texture(70.0), 0.15, 2.5)
    inner = body.skin + depth
    hu, suv, gap = _muscles(body, inner, muscles, np.asarray(axis, float))
    body.fill(inner, hu, suv)
    sheet = rng.uniform(0.0, 1.5) * np.clip(1 + 0.8 * body.texture(40.0), 0, 3)
    body.fill(np.maximum(gap - sheet, inner), tissues.fat_hu + 15, tissues.fat_suv * 1.2)
    return inner


def _muscles(
    body: Body, inner: np.ndarray, count: int, axis: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """CT number, uptake and distance (mm, about) to the next muscle, from cells round random points."""
    rng, space, tissues = body.rng, body.space, body.tissues
    inside = np.flatnonzero(inner.ravel() < 0)
    count = max(2, count)
    if not len(inside):
        return body.ct, body.suv, np.full(inner.shape, 1e3, np.float32)
    along = axis / np.linalg.norm(axis)
    # Cells are five times as long along the axis as across it.
    squeeze = np.eye(3) - 0.8 * np.outer(along, along)
    places = [
        np.float32(row[0]) * space.x + np.float32(row[1]) * space.y + np.float32(row[2]) * space.z
        for row in squeeze
    ]
    seeds = rng.choice(inside, count)
    first = np.full(inner.shape, np.inf, np.float32)
    second = first.copy()
    owner = np.zeros(inner.shape, np.uint8)
    for number, seed in enumerate(seeds):
        square = np.zeros(inner.shape, np.float32)
        for place in places:
            square += (place - place.ravel()[seed]) ** 2
        nearer = square < first
        second = np.where(nearer, first, np.minimum(second, square))
        first = np.where(nearer, square, first)
        owner[nearer] = number
    hu = (tissues.muscle_hu + rng.normal(0, 5, count)).astype(np.float32)
    suv = (tissues.muscle_suv * rng.uniform(0.8, 1.25, count)).astype(np.float32)
    active = rng.random(count) < 0.05
    suv[active] = rng.uniform(1.2, 3.5, int(active.sum()))
    gap = (np.sqrt(second) - np.sqrt(first)) / 2
    grain = 1 + np.float32(rng.uniform(0.05, 0.18)) * body.texture(rng.uniform(10, 22))
    return hu[owner] + rng.uniform(2, 7) * body.texture(12.0), suv[owner] * np.clip(grain, 0.3, 2), gap
