"""Lung tumours that need no annotated patient: random shape, border, texture and place, with their label.

In the manner of label-free tumour synthesis (Hu et al. 2023): the shape is drawn first, so the label is
exact.  The label is the outer contour, cavities and necrosis included, as a radiotherapist draws it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import numpy as np

from SegDLTrainingLib.synthesis.patient import Patient
from SegDLTrainingLib.synthesis.space import Box, Space, coverage, paint, smooth_field, smooth_maximum

SMALLEST_MM, LARGEST_MM = 8.0, 90.0
# Where the lung is airless already (fluid, collapse), a tumour could not be told apart.
INVISIBLE_HU = -350.0


@dataclass(frozen=True)
class Tumour:
    """``kind``: solid, necrotic, cavitated or part-solid; ``place``: lung, pleura or hilum; ``centre`` mm."""

    diameter_mm: float
    kind: str
    place: str
    centre: tuple[float, float, float]


def add_tumour(
    volume: np.ndarray, label: np.ndarray, space: Space, patient: Patient, lung: np.ndarray,
    rng: np.random.Generator, diameter_mm: float | None = None,
) -> Tumour | None:  # fmt: skip
    """Blend one tumour into ``volume`` (HU) and set ``label`` to 1 there; None when no place was found.

    ``lung`` is the signed distance (mm, negative inside) to the lungs.  The diameter is drawn
    log-uniformly from 8 to 90 mm unless given; masses above 35 mm are mostly hilar or pleural.
    """
    if diameter_mm is None:
        diameter_mm = float(np.exp(rng.uniform(np.log(SMALLEST_MM), np.log(LARGEST_MM))))
    place = _choose_place(diameter_mm, rng)
    centre = _find_centre(space, patient, lung, diameter_mm, place, rng)
    box = None if centre is None else space.box(centre, 0.85 * diameter_mm + 12)
    if centre is None or box is None:
        return None
    shape = tumour_shape(space, box, centre, diameter_mm / 2, rng)
    invasion = rng.uniform(0, 2.5) if rng.random() < 0.7 else rng.uniform(2.5, 10)
    shape = smooth_maximum(shape, lung[box] - invasion, 3.0)
    shape = largest_part(shape)
    inside = shape < 0
    if float(inside.sum()) * space.grid.voxel_ml < 0.12:
        return None
    if place != "hilum" and np.median(volume[box][inside]) > INVISIBLE_HU:
        return None
    kind = choose_kind(diameter_mm, rng)
    if diameter_mm > 25 and place != "pleura" and rng.random() < 0.45:
        _add_distal_collapse(volume, space, box, shape, lung, rng)
    if rng.random() < 0.35:
        _add_halo(volume, box, shape, lung, rng)
    fill_tumour(volume, space, box, shape, diameter_mm / 2, kind, patient.blood_arterial > 80, rng)
    _add_spicules(volume, space, centre, diameter_mm / 2, lung, rng)
    part = label[box]
    part[shape < rng.uniform(0.3, 1.2)] = 1
    x, y, z = (float(value) for value in centre)
    return Tumour(diameter_mm, kind, place, (x, y, z))


def _choose_place(diameter: float, rng: np.random.Generator) -> str:
    hilum = 0.5 if diameter > 30 else 0.22
    return str(rng.choice(["hilum", "pleura", "lung"], p=[hilum, 0.26, 0.74 - hilum]))


def choose_kind(diameter: float, rng: np.random.Generator) -> str:
    """solid, necrotic, cavitated or part-solid; small ones are rarely necrotic."""
    if diameter < 14:
        return str(rng.choice(["solid", "part-solid", "cavitated"], p=[0.64, 0.12, 0.24]))
    return str(rng.choice(["solid", "necrotic", "cavitated", "part-solid"], p=[0.48, 0.19, 0.24, 0.09]))


def _find_centre(space, patient, lung, diameter, place, rng) -> np.ndarray | None:
    radius = diameter / 2
    hila = [patient.paths[name][-1] for name in ("bronchus_right", "bronchus_left")]
    for _ in range(4000):
        if place == "hilum":
            side = int(rng.integers(2))
            outwards = np.array([(-1, 1)[side] * rng.uniform(0, 14 + 0.5 * radius), 0, 0])
            at = hila[side] + outwards + rng.normal(0, 11, 3)
            box = space.box(at, 0.0)
            if box is None:
                continue
            depth = float(lung[box].flat[0])
            if -0.9 * radius - 4 < depth < 0.35 * radius:
                return at
            continue
        index = tuple(int(rng.integers(size)) for size in lung.shape)
        depth = float(lung[index])
        shallow = -0.75 * radius if place == "pleura" else -radius - 40
        deep = 0.1 * radius if place == "pleura" else -0.35 * radius - 1
        if shallow < depth < deep:
            return np.array([space.x[index], space.y[index], space.z[index]], dtype=float)
    return None


def tumour_shape(
    space: Space, box: Box, centre: np.ndarray, radius: float, rng: np.random.Generator
) -> np.ndarray:
    """Signed distance (mm, about) to a lobulated, warped ellipsoid."""
    x, y, z = space.at(box)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    stretch = np.exp(rng.normal(0, 0.27, 3))
    stretch /= np.cbrt(np.prod(stretch))
    local = [
        (turn[row, 0] * (x - centre[0]) + turn[row, 1] * (y - centre[1]) + turn[row, 2] * (z - centre[2]))
        / np.float32(stretch[row])
        for row in range(3)
    ]
    lobes = int(rng.integers(1, 7))
    blend = 0.18 * radius
    total = np.zeros_like(local[0])
    for lobe in range(lobes):
        shift = rng.normal(0, 0.33 * radius, 3) if lobe else np.zeros(3)
        size = radius * (rng.uniform(0.45, 0.8) if lobe else rng.uniform(0.75, 0.95))
        gap = np.sqrt(sum((axis - offset) ** 2 for axis, offset in zip(local, shift, strict=True))) - size
        total += np.exp(np.clip(-gap / blend, -40, 40))
    distance = -blend * np.log(np.maximum(total, 1e-17))
    rough = rng.uniform(0.02, 0.2) * radius
    for wavelength, share in ((1.1 * radius, 0.75), (0.45 * radius, 0.4)):
        distance += rough * share * smooth_field(distance.shape, space.grid.spacing, max(wavelength, 4), rng)
    return distance.astype(np.float32)


def largest_part(shape: np.ndarray) -> np.ndarray:
    """Only the largest connected part stays inside: the lung's border may have cut off slivers."""
    parts, count = cc3d.connected_components(shape < 1.0, connectivity=6, return_N=True)
    if count < 2:
        return shape
    largest = 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    return np.where((parts == largest) | (parts == 0), shape, np.float32(2.0))


def fill_tumour(
    volume: np.ndarray, space: Space, box: Box, shape: np.ndarray, radius: float, kind: str,
    enhanced: bool, rng: np.random.Generator,
) -> None:  # fmt: skip
    """Blend tissue of this ``kind`` into ``volume`` (HU) where ``shape`` (mm) is negative."""
    enhancement = rng.uniform(0, 55) if enhanced else 0
    tissue: np.ndarray = np.full(shape.shape, rng.uniform(0, 55) + enhancement, dtype=np.float32)
    tissue += rng.uniform(3, 16) * smooth_field(shape.shape, space.grid.spacing, max(0.4 * radius, 5), rng)
    uneven = 0.22 * radius * smooth_field(shape.shape, space.grid.spacing, max(0.6 * radius, 5), rng)
    if kind == "necrotic":
        core = np.clip(0.5 - (shape + rng.uniform(0.3, 0.6) * radius + uneven) / (0.3 * radius), 0, 1)
        tissue += core * (rng.uniform(-20, 20) - tissue)
    if kind == "cavitated":
        wall = rng.uniform(0.25, 0.75) * radius
        core = coverage(shape + np.maximum(wall + uneven, 1.5), space.edge)
        tissue += core * (rng.uniform(-980, -750) - tissue)
    if kind == "part-solid":
        solid = np.clip(0.5 - (shape + rng.uniform(0.1, 0.6) * radius + 1.5 * uneven) / (0.4 * radius), 0, 1)
        tissue = rng.uniform(-650, -350) + solid * (tissue - rng.uniform(-650, -350))
    if radius > 8 and rng.random() < 0.08:
        tissue += 350 * (smooth_field(shape.shape, space.grid.spacing, 6, rng) > 2.2)
    border = space.edge * rng.uniform(0.9, 1.8)
    paint(volume, coverage(shape, border), tissue, box)


def _add_spicules(volume, space, centre, radius, lung, rng) -> None:
    """Thin strands that run from the border into the lung; they are not part of the label."""
    if rng.random() < 0.45:
        return
    for _ in range(int(rng.integers(4, 22))):
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        start = centre + direction * radius * 0.75
        end = (
            centre + direction * (radius * rng.uniform(1.05, 1.4) + rng.uniform(2, 12)) + rng.normal(0, 2, 3)
        )
        thick = rng.uniform(0.5, 1.3)
        box = space.box(np.stack([start, end]), thick + space.edge)
        if box is None:
            continue
        gap = space.capsule(start, end, (thick + 0.5, 0.3), box)
        share = coverage(gap, space.edge) * coverage(lung[box] + 1, space.edge)
        paint(volume, share * rng.uniform(0.2, 0.7), rng.uniform(-100, 40), box)


def _add_halo(volume, box, shape, lung, rng) -> None:
    width = rng.uniform(3, 12)
    share = np.clip(1 - shape / width, 0, 1) * coverage(lung[box], 3.0)
    paint(volume, share * rng.uniform(0.15, 0.6), rng.uniform(-600, -350), box)


def _add_distal_collapse(volume, space, box, shape, lung, rng) -> None:
    """Obstructed lung beyond a central mass: patchy, on one side of it, and not part of the label."""
    x, y, z = space.at(box)
    direction = rng.normal(size=3) * (1, 1, 0.6)
    direction /= np.linalg.norm(direction)
    ahead = direction[0] * x + direction[1] * y + direction[2] * z
    ahead = ahead - ahead[np.unravel_index(int(np.argmin(shape)), shape.shape)]
    patchy = smooth_field(shape.shape, space.grid.spacing, rng.uniform(8, 16), rng)
    share = np.clip(1.2 - shape / rng.uniform(8, 28) + 0.5 * patchy, 0, 1) * np.clip(ahead / 10, 0, 1)
    paint(
        volume,
        share * coverage(lung[box] + 1, space.edge) * rng.uniform(0.3, 0.95),
        rng.uniform(-450, 0),
        box,
    )
