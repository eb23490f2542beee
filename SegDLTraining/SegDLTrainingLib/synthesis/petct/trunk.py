"""A part of the chest, abdomen or pelvis with its wall; organs as distractors with their own uptake."""

from __future__ import annotations

import numpy as np

from SegDLTrainingLib.synthesis.petct.body import Body, cylinder, paint_soft_tissue

# Femoral head and neck, shaft, and ischium, from the hip joint on: start, end, radii and cortex in mm; the
# patient's left side.
_HIP = (
    ((0, 0, 0), (30, 5, -10), (23, 15), 2.0),
    ((38, 5, -8), (22, 5, -260), (16, 13), 6.0),
    ((0, 10, -5), (-35, 35, -75), (15, 12), 2.0),
)


def paint_trunk(body: Body) -> None:
    """The trunk's axis is x = y = 0; the volume may lie anywhere across it."""
    rng = body.rng
    radii = (rng.uniform(140, 195), rng.uniform(100, 140))
    body.skin = cylinder(body.space, (0, 0, 0), (0, 0, 1), radii) + rng.uniform(2, 6) * body.texture(90.0)
    wall = rng.uniform(30, 62)
    paint_soft_tissue(body, rng.uniform(6, 0.6 * wall), int(rng.integers(8, 16)), (0.3, 0.2, 1.0))
    inside = body.skin + wall + 6 * body.texture(60.0)
    tissues = body.tissues
    body.fill(inside, tissues.fat_hu + 8, tissues.fat_suv * 1.5)
    level = str(rng.choice(["chest", "abdomen", "pelvis"], p=[0.3, 0.25, 0.45]))
    hollow = (radii[0] - wall, radii[1] - wall)
    {"chest": _chest, "abdomen": _abdomen, "pelvis": _pelvis}[level](body, inside, hollow)
    _spine(body, hollow)


def _spine(body: Body, hollow: tuple[float, float]) -> None:
    rng = body.rng
    y, radius = hollow[1] + rng.uniform(-12, 4), rng.uniform(17, 23)
    body.long_bone((0, y, -300), (0, y, 300), (radius, radius), rng.uniform(1.2, 2.5))
    for z in np.arange(-150, 150, rng.uniform(30, 40)):
        body.long_bone((0, y + radius, z), (0, y + radius + 28, z - 12), (4, 3), 1.5)
        for sign in (-1, 1):
            body.long_bone((sign * 12, y + radius * 0.8, z), (sign * 38, y + radius, z), (5, 3), 1.5)


def _chest(body: Body, inside: np.ndarray, hollow: tuple[float, float]) -> None:
    rng, tissues = body.rng, body.tissues
    body.fill(inside, rng.uniform(-900, -780) + 25 * body.texture(12.0), rng.uniform(0.25, 0.5), blocks=True)
    middle = np.abs(body.space.x + 10) - rng.uniform(22, 35)
    body.fill(np.maximum(inside, middle), tissues.fat_hu + 60, 0.6 * tissues.blood_suv, blocks=True)
    heart = np.array([35.0, -0.35 * hollow[1], rng.uniform(-80, 80)])
    wall_suv = float(np.exp(rng.uniform(np.log(1.2), np.log(11))))
    size = rng.uniform(38, 48)
    body.blob(heart, size, tissues.muscle_hu, wall_suv, 0.25, blocks=True)
    body.blob(heart, size - rng.uniform(10, 14), tissues.blood_hu, tissues.blood_suv, 0.05, blocks=True)
    body.vessel([(15, 0.5 * hollow[1], z) for z in range(-160, 161, 40)], rng.uniform(10, 14))
    step = rng.uniform(24, 32)
    ring = np.linspace(-0.8, 0.8, 15)
    for level in np.arange(-150, 151, step):
        for sign in (-1, 1):
            path = [
                (
                    sign * (hollow[0] + 4) * np.cos(angle * np.pi / 2),
                    (hollow[1] + 4) * np.sin(angle * np.pi / 2),
                    level + 40 * angle,
                )
                for angle in ring
            ]
            radius = rng.uniform(4.5, 6)
            if body.space.box(np.asarray(path), 16) is not None:
                body.bone(body.space.tube(np.asarray(path), radius, reach_mm=10), 1.5)


def _abdomen(body: Body, inside: np.ndarray, hollow: tuple[float, float]) -> None:
    rng = body.rng
    z = rng.uniform(-60, 60)
    enhanced = rng.uniform(0, 50)
    body.blob((-0.5 * hollow[0], -10, z + 40), (62, 60, 62), 58 + enhanced, rng.uniform(1.5, 3.2), 0.1, True)
    body.blob((0.65 * hollow[0], 25, z + 40), (28, 38, 45), 52 + enhanced, rng.uniform(1.3, 2.6), 0.1, True)
    for sign in (-1, 1):
        centre = np.array([sign * 55.0, 0.5 * hollow[1], z - 15])
        body.blob(centre, (24, 22, 48), 35 + enhanced, rng.uniform(2, 6), 0.3, True)
        body.blob(centre - (sign * 8, 4, 0), (9, 9, 20), 8, rng.uniform(3, 25), 0.3, True)
        _ureter(body, centre[0], z - 20)
    _bowel(body, hollow, int(rng.integers(6, 12)))
    body.vessel([(6, 0.55 * hollow[1], level) for level in range(-160, 161, 40)], rng.uniform(7, 10))


def _pelvis(body: Body, inside: np.ndarray, hollow: tuple[float, float]) -> None:
    rng = body.rng
    floor = rng.uniform(-110, 60)
    _bowel(body, hollow, int(rng.integers(3, 8)))
    bladder = (rng.normal(0, 5), -0.35 * hollow[1], floor + 30)
    body.blob(bladder, rng.uniform(22, 42, 3), rng.uniform(0, 14),
              float(np.exp(rng.uniform(np.log(3), np.log(40)))), 0.05, True)  # fmt: skip
    body.blob((rng.normal(0, 4), 0.1 * hollow[1], floor + 20), rng.uniform(18, 30, 3), 55,
              rng.uniform(0.9, 2.2), 0.3, True)  # fmt: skip
    for sign in (-1, 1):
        _ureter(body, sign * rng.uniform(35, 55), floor + 60)
        body.vessel([(sign * (30 + 0.35 * abs(z - 80)), -0.1 * hollow[1] - 0.3 * z, floor + z)
                     for z in range(-60, 141, 40)], rng.uniform(4, 7))  # fmt: skip
        hip = np.array([sign * (hollow[0] - 8), 0.0, floor])
        for low, high, radii, cortex in _HIP:
            start, end = (hip + np.asarray(point) * (sign, 1, 1) for point in (low, high))
            body.long_bone(start, end, radii, cortex)
        front = np.array([sign * 8.0, -0.8 * hollow[1], floor - 30])
        body.long_bone(hip + np.array([-sign * 10.0, -25, 0]), front, (12, 9), 2.0)
        _iliac_wing(body, inside, hip, sign, hollow)


def _iliac_wing(body, inside, hip, sign, hollow) -> None:
    """A plate of bone behind and above the hip, along the inner side of the wall."""
    space = body.space
    plate = np.abs(inside - body.rng.uniform(-2, 6)) - body.rng.uniform(4, 8)
    backward = np.clip(0.25 * hollow[1] - 0.35 * (space.z - hip[2]) - space.y, -50, 50)
    limits = [
        plate,
        hip[2] - 8 - space.z,
        space.z - hip[2] - 110,
        space.y - hollow[1] * 1.15,
        backward - 35,
        15 - sign * space.x,
    ]
    distance = np.maximum.reduce(np.broadcast_arrays(*limits)).astype(np.float32)
    body.bone(distance, 2.0)


def _ureter(body: Body, x: float, top: float) -> None:
    rng = body.rng
    if rng.random() < 0.5:
        return
    points = [
        (x * (1 - 0.0015 * t) + rng.normal(0, 3), 10 + rng.normal(0, 4), top - t) for t in range(0, 120, 20)
    ]
    distance = body.space.tube(np.asarray(points, float), rng.uniform(1.5, 3), reach_mm=8)
    body.fill(distance, 10, rng.uniform(3, 18))


def _bowel(body: Body, hollow: tuple[float, float], loops: int) -> None:
    """Loops with wall uptake that varies along them, some with gas."""
    rng = body.rng
    for _ in range(loops):
        start = np.array([rng.uniform(-0.8, 0.8) * hollow[0], rng.uniform(-0.8, 0.4) * hollow[1],
                          rng.uniform(-140, 140)])  # fmt: skip
        points = start + np.cumsum(rng.normal(0, 22, (6, 3)), axis=0)
        radius = rng.uniform(8, 16)
        distance = body.space.tube(points, radius, reach_mm=radius + 4)
        uptake = float(np.exp(rng.uniform(np.log(0.7), np.log(5))))
        body.fill(distance, rng.uniform(15, 60),
                  uptake * np.clip(0.8 + 0.4 * body.texture(25.0), 0.2, 2), blocks=True)  # fmt: skip
        if rng.random() < 0.4:
            body.fill(distance + radius * rng.uniform(0.3, 0.7), -900, 0.3, blocks=True)
