"""Body outline, fat, muscle, breasts, arms, ribs, spine, shoulder girdle and the couch."""

from __future__ import annotations

import itertools

import numpy as np

from SegDLTrainingLib.synthesis.patient import Patient
from SegDLTrainingLib.synthesis.space import Space, coverage, paint, smooth_field


def cavity_distance(space: Space, patient: Patient) -> np.ndarray:
    """Signed distance (mm, about) to the inner surface of the rib cage; the apex is a closed dome.

    Two halves side by side leave a notch for the spine behind and the sternum in front.
    """
    half_width, half_depth, centre = patient.cavity_axes(space.z)
    power, notch = patient.shape, patient.notch
    across = np.abs(np.abs(space.x) / half_width - notch) / (1 - notch)
    norm = across**power + (np.abs(space.y - centre) / half_depth) ** power
    distance = (norm ** np.float32(1 / power) - 1) * np.minimum(half_width * (1 - notch), half_depth)
    return np.maximum(distance, (space.z - patient.apex) * 0.7)


def paint_body(
    volume: np.ndarray, space: Space, patient: Patient, cavity: np.ndarray, rng: np.random.Generator
) -> None:
    """Skin, fat and muscle outside the cavity; inside it, fat that the organs are painted over later."""
    rise = 1 / (1 + np.exp(-(space.z - 70) / 14))
    fall = 1 / (1 + np.exp(-(space.z - patient.apex - 25) / 9))
    wall = patient.fat + patient.muscle + 14
    a = (patient.width + wall) * (1 + 0.16 * rise - 0.5 * fall)
    b = (patient.depth + wall) * (1 - 0.06 * rise - 0.35 * fall)
    norm = (np.abs(space.x) / a) ** 2.5 + (np.abs(space.y - 12 * rise) / b) ** 2.5
    body = (norm ** np.float32(0.4) - 1) * np.minimum(a, b)
    fatty = np.full(volume.shape, rng.uniform(-112, -92), dtype=np.float32)
    fatty += 7 * smooth_field(volume.shape, space.grid.spacing, 12, rng)
    if patient.breasts:
        for side in (-1, 1):
            centre = (side * 72, -(patient.depth + wall) - 4, rng.uniform(-70, -35))
            size = np.array([62, 34, 58]) * patient.breasts
            breast = space.ellipsoid(centre, size)
            body = np.minimum(body, breast)
            gland = (
                0.5
                * coverage(breast + 14, 12)
                * (smooth_field(volume.shape, space.grid.spacing, 14, rng) > 0.3)
            )
            fatty += gland * rng.uniform(40, 150)
    for side in (-1, 1):
        if patient.arms:
            arm = space.ellipsoid((side * (patient.width + wall + 42), 20, -30), (40, 44, 400))
            body = np.minimum(body, arm)
        body = np.minimum(body, space.ellipsoid((side * (patient.width + 28), 16, 112), (46, 48, 66)))
    paint(volume, coverage(body, space.edge), fatty)
    depth_of_muscle = patient.fat * (0.75 + 0.25 * smooth_field(volume.shape, space.grid.spacing, 60, rng))
    muscle = np.maximum(body + np.maximum(depth_of_muscle, 3), -cavity + 2.5)
    strands = smooth_field(volume.shape, space.grid.spacing, 16, rng)
    value = np.where(strands > rng.uniform(0.8, 1.8), -90, patient.soft + 4 * strands)
    paint(volume, coverage(muscle, space.edge), value)
    paint(volume, 0.8 * coverage(np.abs(body + 1.2) - 1.2, space.edge), 20.0)


def paint_skeleton(
    volume: np.ndarray, space: Space, patient: Patient, rng: np.random.Generator
) -> np.ndarray:
    """Ribs, spine, sternum, clavicles and scapulae; returns the distance to the vertebral column (mm)."""
    _paint_ribs(volume, space, patient, rng)
    _, half_depth, centre = patient.cavity_axes(0.0)
    front = float(centre - half_depth * (1 - 0.5 * patient.notch))
    plate = space.ellipsoid((rng.normal(0, 2), front - 7, -22), (17, 5.5, 78))
    _paint_bone(volume, space, plate, patient.bone)
    for side in (-1, 1):
        clavicle = space.tube(
            np.array([(side * 20, front + 6, 56), (side * 60, front + 14, 84), (side * 118, 0, 108)]), 6, 12
        )
        _paint_bone(volume, space, clavicle, patient.bone * 1.2)
        blade = space.ellipsoid(
            (side * (patient.width * 0.82), patient.depth * 0.93 + 6, 34), (40, 4.5, 66), side * 32
        )
        _paint_bone(volume, space, blade, patient.bone)
        head = space.ellipsoid((side * (patient.width + 30), 16, 104), (22, 22, 24))
        _paint_bone(volume, space, head, patient.bone * 0.8)
        if patient.arms:
            shaft = space.ellipsoid((side * (patient.width + patient.fat + 66), 20, -30), (11, 11, 400))
            _paint_bone(volume, space, shaft, patient.bone * 1.5)
    return _paint_spine(volume, space, patient, rng)


def _paint_bone(volume: np.ndarray, space: Space, distance: np.ndarray, value: float) -> None:
    """A hard rim of about 2 mm round softer marrow."""
    paint(volume, coverage(distance, space.edge), value)
    paint(volume, coverage(distance + 2.5, space.edge * 1.5), 0.25 * value + 40)


def _paint_ribs(volume: np.ndarray, space: Space, patient: Patient, rng: np.random.Generator) -> None:
    drop = rng.uniform(45, 85)
    turns = np.linspace(np.deg2rad(14), np.deg2rad(158), 22)
    spread = rng.uniform(23, 28)
    thick = rng.uniform(4.2, 6.0)
    calcified = rng.uniform(60, 260)
    for side in (-1, 1):
        for level in range(11):
            top = patient.apex - 2 - spread * level + rng.normal(0, 1.5)
            fall = drop * (0.5 + 0.5 * min(level / 4, 1))
            share = (turns - turns[0]) / (turns[-1] - turns[0])
            height = top - fall * (share**1.1)
            a, b, centre = patient.cavity_axes(np.minimum(height, patient.apex - 16))
            power = 2 / patient.shape
            inner = patient.notch * a
            x = side * (inner + (a - inner + 5) * np.sin(turns) ** power)
            y = centre + (b + 5) * np.sign(np.cos(turns)) * np.abs(np.cos(turns)) ** power
            points = np.stack([x, y, height], axis=1)
            points[0] = (side * 17, patient.vertebra_y + 12, top + 3)
            for number, (start, end) in enumerate(itertools.pairwise(points)):
                box = space.box(np.stack([start, end]), thick + 8)
                if box is None:
                    continue
                gap = space.capsule(start, end, (thick, thick), box)
                if number >= 16:
                    paint(volume, coverage(gap, space.edge), calcified, box)
                else:
                    paint(volume, coverage(gap, space.edge), patient.bone * 1.1, box)
                    paint(volume, coverage(gap + 2.4, space.edge * 1.4), 0.3 * patient.bone + 50, box)


def _paint_spine(volume: np.ndarray, space: Space, patient: Patient, rng: np.random.Generator) -> np.ndarray:
    middle = patient.vertebra_y + 0.0006 * rng.uniform(0.3, 1.4) * (space.z - 20) ** 2 * -1
    wide, deep = rng.uniform(15, 19), rng.uniform(13, 16)
    dx, dy = space.x, space.y - middle
    body = (np.sqrt((dx / wide) ** 2 + (dy / deep) ** 2) - 1) * 15
    pitch = rng.uniform(21, 27)
    disc = np.abs((space.z / pitch) % 1 - 0.5) < 0.11
    level = np.abs((space.z / pitch) % 1)
    column = np.minimum(body, (np.sqrt((dx / 13) ** 2 + ((dy - 24) / 13) ** 2) - 1) * 13)
    process = np.maximum(np.abs(dx) - 3.5, np.maximum(dy - 54, 26 - dy))
    wing = np.maximum(np.abs(dx) - 34, np.sqrt((dy - 24) ** 2 + ((level - 0.2) * pitch) ** 2) - 6)
    bone = np.minimum(np.minimum(column, process), wing)
    paint(volume, coverage(bone, space.edge), patient.bone)
    marrow = 0.35 * patient.bone + 60 + 15 * smooth_field(volume.shape, space.grid.spacing, 8, rng)
    paint(volume, coverage(body + 2.5, space.edge), np.where(disc, 85, marrow))
    paint(volume, coverage((np.sqrt((dx / 9) ** 2 + ((dy - 24) / 8) ** 2) - 1) * 8.5, space.edge), 30)
    return column


def paint_couch(volume: np.ndarray, space: Space, patient: Patient, rng: np.random.Generator) -> None:
    """A flat or curved table below the back, in scanner coordinates: it does not bend with the patient."""
    x = (np.arange(space.grid.size[0]) * space.grid.spacing[0] + space.grid.origin[0]).astype(np.float32)
    y = (np.arange(space.grid.size[1]) * space.grid.spacing[1] + space.grid.origin[1]).astype(np.float32)
    tissue = np.flatnonzero((volume > -300).any(axis=(0, 2)))
    if tissue.size == 0:
        return
    top = y[tissue[-1]] + rng.uniform(1, 6) + rng.uniform(0, 0.0012) * -(x**2)
    thick, half = rng.uniform(12, 40), rng.uniform(180, 240)
    depth = y[:, None] - top[None, :]
    inside = (depth > 0) & (depth < thick) & (np.abs(x) < half)[None, :]
    shell = inside & ((depth < 3) | (depth > thick - 3))
    plane = np.where(shell, rng.uniform(-500, 60), np.where(inside, rng.uniform(-970, -850), -1000.0))
    np.maximum(volume, plane[None].astype(np.float32), out=volume)
