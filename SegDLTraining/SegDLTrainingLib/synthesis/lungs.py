"""Lung parenchyma, fissures, and findings that are no tumour: what a detector must learn to leave alone."""

from __future__ import annotations

import numpy as np

from SegDLTrainingLib.synthesis.patient import Patient
from SegDLTrainingLib.synthesis.space import Space, coverage, paint, smooth_field


def paint_parenchyma(
    volume: np.ndarray, space: Space, patient: Patient, lung: np.ndarray, rng: np.random.Generator
) -> None:
    """Aerated lung: denser towards the back (or the front, when prone), mottled, with fissures."""
    spacing = space.grid.spacing
    gravity = space.y if patient.supine else -space.y
    value = patient.lung + patient.lung_gradient * gravity * 0.8
    value += rng.uniform(4, 26) * smooth_field(volume.shape, spacing, 9, rng)
    value += rng.uniform(4, 30) * smooth_field(volume.shape, spacing, 40, rng)
    if rng.random() < 0.3:
        holes = smooth_field(volume.shape, spacing, rng.uniform(8, 22), rng) + 0.006 * (space.z - 20)
        value = np.where(holes > rng.uniform(0.6, 1.8), rng.uniform(-990, -940), value)
    paint(volume, coverage(lung, space.edge * rng.uniform(0.9, 1.4)), value)
    for tilt, level in ((0.9, -14.0), (0.75, -24.0)):
        sheet = np.abs(space.z - level - tilt * (space.y - 10) + rng.uniform(-8, 8))
        side = space.x > 0 if tilt == 0.9 else space.x < 0
        share = coverage(sheet - 0.2, 3.5) * side * (lung < -1)
        paint(volume, share * rng.uniform(0, 0.35), -250)


def paint_findings(
    volume: np.ndarray, space: Space, patient: Patient, lung: np.ndarray, cavity: np.ndarray,
    rng: np.random.Generator,
) -> list[str]:  # fmt: skip
    """Add random benign findings; returns their names."""
    chances = {
        "ground glass": (0.15, _ground_glass),
        "dependent density": (0.45, _dependent_density),
        "effusion": (0.08, _effusion),
        "bands": (0.4, _bands),
        "reticulation": (0.15, _reticulation),
        "granulomas": (0.3, _granulomas),
        "apical cap": (0.3, _apical_cap),
        "plaques": (0.15, _plaques),
        "consolidation": (0.06, _consolidation),
    }
    found = []
    for name, (chance, finding) in chances.items():
        if rng.random() < chance:
            finding(volume, space, patient, lung, cavity, rng)
            found.append(name)
    return found


def _ground_glass(volume, space, patient, lung, cavity, rng):
    mottled = smooth_field(volume.shape, space.grid.spacing, rng.uniform(14, 40), rng)
    share = np.clip((mottled - rng.uniform(0.4, 1.6)) * 1.2, 0, 1) * coverage(lung, space.edge)
    paint(volume, share * rng.uniform(0.3, 0.9), rng.uniform(-700, -450))


def _dependent_density(volume, space, patient, lung, cavity, rng):
    """Poorly aerated rim along the lowest part of the lung."""
    back = cavity if patient.supine else cavity + 4
    low = np.clip((space.y * (1 if patient.supine else -1) - 0.3 * patient.depth) / 30, 0, 1)
    rim = np.clip(1 + (back + 2) / rng.uniform(6, 18), 0, 1) * low * coverage(lung, space.edge)
    rim *= 0.7 + 0.3 * smooth_field(volume.shape, space.grid.spacing, 18, rng)
    paint(volume, np.clip(rim, 0, 1) * rng.uniform(0.3, 1.0), rng.uniform(-500, 20))


def _effusion(volume, space, patient, lung, cavity, rng):
    """Fluid that fills one or both cavities from below and behind, with a slanting level."""
    sides = [(-1,), (1,), (-1, 1)][int(rng.integers(3))]
    level = rng.uniform(0.4, 0.85) * patient.depth
    for side in sides:
        surface = level - (space.y - 0.35 * np.clip(space.z + 90, -80, 120) * -1)
        fluid = np.maximum(np.maximum(lung, surface * 0.9), -side * space.x)
        paint(volume, coverage(fluid, space.edge), rng.uniform(0, 25))


def _bands(volume, space, patient, lung, cavity, rng):
    """Linear atelectasis or scars: thin plates of limited extent."""
    for _ in range(int(rng.integers(1, 7))):
        at = _point_inside(space, lung, rng)
        if at is None:
            return
        normal = rng.normal(size=3) * (0.6, 0.8, 1.2)
        normal /= np.linalg.norm(normal)
        size = rng.uniform(10, 35)
        box = space.box(at, size + 8)
        if box is None:
            continue
        x, y, z = space.at(box)
        off = (x - at[0]) * normal[0] + (y - at[1]) * normal[1] + (z - at[2]) * normal[2]
        off = off + 2.5 * smooth_field(off.shape, space.grid.spacing, 15, rng)
        far = np.sqrt((x - at[0]) ** 2 + (y - at[1]) ** 2 + (z - at[2]) ** 2) - size
        plate = np.maximum(np.abs(off) - rng.uniform(0.4, 1.8), far)
        share = coverage(plate, space.edge * 1.3) * coverage(lung[box], space.edge)
        paint(volume, share * rng.uniform(0.4, 0.95), rng.uniform(-300, 30), box)


def _reticulation(volume, space, patient, lung, cavity, rng):
    mesh = np.abs(smooth_field(volume.shape, space.grid.spacing, rng.uniform(6, 10), rng)) < 0.18
    rim = np.clip(1 + lung / rng.uniform(8, 25), 0, 1) * coverage(lung, space.edge)
    paint(volume, 0.8 * mesh * rim, rng.uniform(-500, -100))


def _granulomas(volume, space, patient, lung, cavity, rng):
    """Calcified granulomas and soft micro-nodules below 4 mm, which are not to be called tumours."""
    for _ in range(int(rng.integers(1, 9))):
        at = _point_inside(space, lung, rng)
        if at is None:
            return
        radius = rng.uniform(1.0, 2.4)
        calcified = rng.random() < 0.5
        if calcified:
            radius += rng.uniform(0, 2)
        box = space.box(at, radius + 4)
        if box is not None:
            gap = space.ellipsoid(at, (radius, radius, radius), 0.0, box)
            share = min(1.0, (2 * radius / (space.edge * 1.6)) ** 2) * coverage(gap, space.edge)
            paint(volume, share, rng.uniform(400, 1200) if calcified else rng.uniform(-100, 60), box)


def _apical_cap(volume, space, patient, lung, cavity, rng):
    mottled = smooth_field(volume.shape, space.grid.spacing, 12, rng)
    cap = np.maximum(lung, patient.apex - rng.uniform(10, 28) - space.z)
    rim = np.maximum(cap, -(lung + rng.uniform(2, 6) + 2 * mottled))
    paint(volume, coverage(rim, space.edge) * rng.uniform(0.4, 1), rng.uniform(-100, 50))


def _plaques(volume, space, patient, lung, cavity, rng):
    mottled = smooth_field(volume.shape, space.grid.spacing, 22, rng)
    rim = np.maximum(np.maximum(lung, -(cavity + rng.uniform(3, 7))), 2 * (1.3 - mottled))
    paint(volume, coverage(rim, space.edge), rng.uniform(20, 400))


def _consolidation(volume, space, patient, lung, cavity, rng):
    """Airless lung with a soft, ragged border that reaches a fissure or the pleura, open bronchi inside."""
    at = _point_inside(space, lung, rng)
    if at is None:
        return
    size = rng.uniform(15, 45, 3)
    mottled = smooth_field(volume.shape, space.grid.spacing, rng.uniform(10, 20), rng)
    shape = space.ellipsoid(at, size) + rng.uniform(5, 12) * mottled
    share = np.clip(0.5 - shape / rng.uniform(10, 30), 0, 1) * coverage(lung + 1, space.edge)
    airless = volume < rng.uniform(-920, -860)
    share = np.where(airless & (mottled > 0.2), 0.4 * share, share)
    paint(volume, share * rng.uniform(0.6, 1.0), rng.uniform(-250, 40))


def _point_inside(space: Space, lung: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """A random point (x, y, z) of the lung; None when there is none."""
    for _ in range(2000):
        index = tuple(int(rng.integers(size)) for size in lung.shape)
        if lung[index] < -2:
            return np.array([space.x[index], space.y[index], space.z[index]], dtype=float)
    return None
