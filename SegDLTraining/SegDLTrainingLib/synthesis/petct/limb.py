"""Thigh, calf, arm, hand or foot: bones, muscles, vessels, sometimes a second limb beside it."""

from __future__ import annotations

import numpy as np

from SegDLTrainingLib.synthesis.petct.body import Body, cylinder, paint_soft_tissue


def paint_limb(body: Body) -> None:
    """A limb through the middle of the volume, about along z."""
    rng = body.rng
    kind = str(rng.choice(["thigh", "calf", "hand"], p=[0.5, 0.28, 0.22]))
    tilt = {"thigh": 0.15, "calf": 0.2, "hand": 0.45}[kind]
    axis = np.array([rng.normal(0, tilt), rng.normal(0, tilt), 1.0])
    axis /= np.linalg.norm(axis)
    radius = {"thigh": rng.uniform(62, 110), "calf": rng.uniform(34, 62), "hand": rng.uniform(24, 36)}[kind]
    flat = rng.uniform(1.3, 2.0) if kind == "hand" else rng.uniform(0.85, 1.25)
    radii = (radius * np.sqrt(flat), radius / np.sqrt(flat))
    centre = rng.normal(0, 0.35, 3) * radius * (1, 1, 0)
    turn = rng.uniform(0, 180)
    body.skin = cylinder(body.space, centre, axis, radii, turn, rng.normal(0, 0.0015))
    body.skin += rng.uniform(0.01, 0.05) * radius * body.texture(max(radius, 30))
    neighbour = centre + np.array([(radius + radii[0]) * rng.uniform(1.0, 1.3), rng.normal(0, 15), 0]) * (
        1 if rng.random() < 0.5 else -1
    )
    paired = rng.random() < 0.55
    if paired:
        other = cylinder(body.space, neighbour, axis * (-1, 1, 1), radii, -turn, 0.0)
        body.skin = np.minimum(body.skin, other)
    fat = {"thigh": rng.uniform(4, 32), "calf": rng.uniform(2, 15), "hand": rng.uniform(1.5, 5)}[kind]
    muscles = {"thigh": (8, 16), "calf": (5, 10), "hand": (6, 12)}[kind]
    paint_soft_tissue(body, fat, int(rng.integers(*muscles)), axis)
    for middle in [centre, neighbour][: 1 + paired]:
        if kind == "hand":
            _small_bones(body, middle, axis, radii, turn)
        else:
            _shafts(body, middle, axis, radius, two=kind == "calf")
        _vessels(body, middle, axis, radius)


def _shafts(body: Body, centre: np.ndarray, axis: np.ndarray, radius: float, two: bool) -> None:
    """The femur or humerus, or a pair of bones, with a joint somewhere in a part of the cases."""
    rng = body.rng
    joint = rng.uniform(-70, 70) if rng.random() < 0.3 else None
    offsets = [rng.normal(0, 0.2, 3) * radius]
    if two:
        offsets.append(offsets[0] + rng.normal(0, 1, 3) * (1, 1, 0) * radius * 0.4)
    for number, offset in enumerate(offsets):
        width = radius * (rng.uniform(0.12, 0.19) if number == 0 else rng.uniform(0.07, 0.12))
        width = float(np.clip(width, 4, 17))
        at = centre + offset * (1, 1, 0)
        low, high = at - 200 * axis, at + 200 * axis
        cortex = width * rng.uniform(0.3, 0.6)
        if joint is None:
            body.long_bone(low, high, (width, width), cortex)
            continue
        gap, wide = rng.uniform(2, 4), width * rng.uniform(1.6, 2.2)
        middle = at + joint * axis
        for sign, far in ((-1, low), (1, high)):
            near = middle + sign * (gap + wide) * axis
            body.long_bone(near + sign * 2.5 * wide * axis, far, (width, width), cortex)
            body.long_bone(near, near + sign * 2.5 * wide * axis, (wide, width), 2.0)
        if rng.random() < 0.5:
            body.blob(middle + rng.normal(0, wide, 3), wide * rng.uniform(0.5, 1.2), 35,
                      rng.uniform(0.9, 2.6), 0.4)  # fmt: skip


def _small_bones(
    body: Body, centre: np.ndarray, axis: np.ndarray, radii: tuple[float, float], turn: float
) -> None:
    """Rays of thin bones on one side of a joint of many small ones, two shafts on the other."""
    rng = body.rng
    angle = np.deg2rad(turn)
    across = np.array([np.cos(angle), np.sin(angle), 0.0])
    across -= axis * (across @ axis)
    across /= np.linalg.norm(across)
    root = centre + rng.uniform(-60, 60) * axis
    for place in np.linspace(-0.62, 0.62, int(rng.integers(4, 6))):
        start = root + place * radii[0] * across + 18 * axis
        end = root + 1.5 * place * radii[0] * across + rng.uniform(60, 180) * axis
        width = rng.uniform(3.0, 5.5)
        body.long_bone(start, end, (width * 1.2, width), width * 0.45)
    for _ in range(int(rng.integers(6, 11))):
        at = root + rng.uniform(-0.6, 0.6) * radii[0] * across + rng.uniform(-16, 18) * axis
        at = at + rng.normal(0, 0.1 * radii[1], 3)
        body.long_bone(at, at + rng.normal(0, 4, 3), (rng.uniform(5, 8),) * 2, 1.5)
    for place in (-0.35, 0.35):
        start = root + place * radii[0] * across - 20 * axis
        body.long_bone(start, start - 200 * axis, (rng.uniform(8, 12), rng.uniform(5, 8)), 2.5)


def _vessels(body: Body, centre: np.ndarray, axis: np.ndarray, radius: float) -> None:
    rng = body.rng
    for _ in range(int(rng.integers(1, 4))):
        at = centre + rng.normal(0, 0.3, 3) * radius * (1, 1, 0)
        points = [at + t * axis + rng.normal(0, 4, 3) for t in np.linspace(-160, 160, 7)]
        body.vessel(points, float(np.clip(radius * rng.uniform(0.02, 0.06), 1.5, 5)))
