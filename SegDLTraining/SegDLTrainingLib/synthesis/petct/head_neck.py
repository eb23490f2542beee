"""Head and neck: skull and brain, airway, jaw, spine, glands and tonsils with their physiological uptake."""

from __future__ import annotations

import numpy as np

from SegDLTrainingLib.synthesis.petct.body import Body, cylinder, paint_soft_tissue
from SegDLTrainingLib.synthesis.space import EVERYWHERE


def paint_head_neck(body: Body) -> None:
    """z = 0 lies at the height of the mouth, y = 0 in the middle of the neck."""
    rng, space = body.rng, body.space
    neck = cylinder(
        space, (0, 12, 0), (0, rng.normal(0, 0.12), 1), (rng.uniform(50, 66), rng.uniform(52, 68))
    )
    neck = np.maximum(neck, space.z - 60)
    head = space.ellipsoid((0, -2, 65), (rng.uniform(68, 78), rng.uniform(88, 98), rng.uniform(96, 112)))
    shoulders = space.ellipsoid((0, 20, -165), (rng.uniform(170, 215), 80, rng.uniform(55, 75)))
    body.skin = _joined([neck, head, shoulders], 8.0) + 1.5 * body.texture(40.0)
    paint_soft_tissue(body, rng.uniform(3, 12), int(rng.integers(12, 22)))
    _spine(body)
    _face(body)
    _brain(body)
    _airway(body)
    _glands(body)
    for sign in (-1, 1):
        for x, y, radius in ((25, 2, rng.uniform(2.5, 4)), (32, 8, rng.uniform(3, 7))):
            body.vessel([(sign * x, y, z) for z in range(-140, 41, 30)], radius)
        body.seats += [np.array([sign * 33.0, 5.0, z]) for z in (-55, -25, 0)]
        body.seats += [np.array([sign * 14.0, -18.0, z]) for z in (-60, -25, 0, 8)]
    body.seats += [np.array([0.0, y, z]) for y, z in ((-38, -18), (-20, -62), (2, -45), (5, 28))]


def _joined(distances: list[np.ndarray], rounding_mm: float) -> np.ndarray:
    """The union of shapes with rounded creases."""
    total = sum(np.exp(np.clip(-distance / rounding_mm, -40, 40)) for distance in distances)
    return (-rounding_mm * np.log(np.maximum(total, 1e-17))).astype(np.float32)


def _spine(body: Body) -> None:
    rng = body.rng
    y, width = rng.uniform(24, 32), rng.uniform(9, 12)
    body.long_bone((0, y, -250), (0, y, 40), (width, width), rng.uniform(1.5, 3))
    canal = body.space.capsule(np.array([0, y + 17.0, -250]), np.array([0, y + 17.0, 50]), (9, 9), EVERYWHERE)
    body.fill(canal, 25, 1.2 * body.tissues.muscle_suv, blocks=True)
    for z in np.arange(-140, 30, rng.uniform(15, 19)):
        body.long_bone((0, y + 27, z), (0, y + 45, z - 8), (3.5, 3), 1.5)
        for sign in (-1, 1):
            body.long_bone((sign * 10, y + 4, z), (sign * 24, y + 14, z), (5.5, 4.5), 1.5)


def _brain(body: Body) -> None:
    """The skull and, in it, the brain: by far the highest uptake, in the cortex more than below it."""
    rng = body.rng
    skull = body.space.ellipsoid((0, 8, 92), (rng.uniform(62, 67), rng.uniform(76, 84), rng.uniform(64, 72)))
    body.bone(skull, rng.uniform(2, 3), marrow_hu=500)
    brain = skull + rng.uniform(6, 8)
    cortex = 1 / (1 + np.exp(-2 * body.texture(11.0))) * np.clip(1.3 + brain / 45, 0.45, 1.3)
    body.fill(brain, 35 + 3 * body.texture(9.0), rng.uniform(5, 13) * (0.35 + 0.65 * cortex), blocks=True)


def _face(body: Body) -> None:
    rng = body.rng
    width = rng.uniform(44, 52)
    path = [(-width, 8, 32), (-width + 1, -6, 0), (-width + 12, -48, -16), (0, -76, -20),
            (width - 12, -48, -16), (width - 1, -6, 0), (width, 8, 32)]  # fmt: skip
    body.bone(body.space.tube(np.asarray(path, float), rng.uniform(5.5, 8), reach_mm=14), 2.2)
    if rng.random() < 0.8:
        arch = [(-24, -50, 0), (-16, -70, 0), (0, -77, 0), (16, -70, 0), (24, -50, 0)]
        body.bone(
            body.space.tube(np.asarray(arch, float), rng.uniform(5, 8), reach_mm=12), 1.0, marrow_hu=1200
        )
    tongue = rng.uniform(0.8, 2.2)
    body.blob((0, -42, -6), (24, 30, 19), body.tissues.muscle_hu, tongue, 0.2)
    for sign in (-1, 1):
        body.blob((sign * 24, -58, 30), (13, 15, 16), -1000, 0.1, 0, True)
        body.blob((sign * 31, -70, 62), (15, 20, 15), body.tissues.fat_hu, body.tissues.fat_suv, 0.1, True)
        body.blob((sign * 31, -76, 62), 12, 12, 0.6 * rng.uniform(0.8, 2), 0.1, True)
    body.blob((0, -62, 32), (9, 28, 17), -700, 0.4, 0.2, True)


def _airway(body: Body) -> None:
    """From the nose to the trachea, in a wall with some uptake; the larynx may be active."""
    rng = body.rng
    path = np.array([(0, -40, 32), (0, -8, 30), (0, -9, 8), (0, -8, -20), (0, -10, -45), (0, -20, -62),
                     (0, -14, -90), (0, -5, -125), (0, 0, -180)], float)  # fmt: skip
    path[1:, 1] += rng.normal(0, 2, 8)
    radii = np.array([8, 9, 8, 8, 7, 5, 8, 9, 9]) * rng.uniform(0.7, 1.15)
    distance = body.space.tube(path, radii, reach_mm=16)
    body.fill(distance - rng.uniform(3, 5), body.tissues.muscle_hu, rng.uniform(0.9, 2.0))
    if rng.random() < 0.5:
        body.blob(path[5], (16, 12, 8), 50, rng.uniform(1, 4), 0.3)
    body.fill(distance, -1000, 0.15, blocks=True)
    if rng.random() < 0.5:
        ring = np.abs(distance - 6) - 2
        shield = np.maximum(ring, np.maximum(np.abs(body.space.z + 68) - 12, body.space.y + 14))
        body.fill(shield.astype(np.float32), rng.uniform(80, 300), 0.5, blocks=True)


def _glands(body: Body) -> None:
    """Tonsils, salivary glands and thyroid, on both sides about alike; small quiet lymph nodes."""
    rng = body.rng
    pairs = [
        ((19, -18, 2), (7, 9, 11), 55, rng.uniform(1.5, 5.5)),
        ((50, 6, 14), (11, 15, 21), rng.uniform(-30, 30), rng.uniform(0.9, 3.0)),
        ((32, -34, -22), (10, 14, 13), 40, rng.uniform(1.2, 4.0)),
        ((17, -14, -92), (9, 10, 20), rng.uniform(80, 120), rng.uniform(0.8, 2.2)),
        ((10, -52, -22), (5, 14, 6), 40, rng.uniform(0.8, 4.0)),
    ]
    for centre, radii, hu, suv in pairs:
        for sign in (-1, 1):
            at = np.asarray(centre) * (sign, 1, 1) + rng.normal(0, 1.5, 3)
            body.blob(at, radii, hu, suv * rng.uniform(0.8, 1.2), 0.15)
    if rng.random() < 0.4:
        body.blob((0, 6, 30), (14, 5, 9), 50, rng.uniform(1.2, 4.5), 0.2)
    if rng.random() < 0.4:
        body.blob((0, -26, -14), (12, 6, 6), 50, rng.uniform(1.2, 4.0), 0.2)
    for _ in range(int(rng.integers(0, 8))):
        node = (rng.choice([-1, 1]) * rng.uniform(22, 45), rng.uniform(-15, 20), rng.uniform(-90, 5))
        body.blob(node, rng.uniform(3, 6), 45, rng.uniform(0.8, 2.2), 0.1)
