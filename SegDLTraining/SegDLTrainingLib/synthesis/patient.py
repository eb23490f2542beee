"""The random patient: sizes, densities and the course of the large structures, before any voxel."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Patient:
    """Lengths in mm, densities in HU.  ``left`` is +x.  Points follow the coordinates of ``space``."""

    width: float
    depth: float
    apex: float
    base: float
    fat: float
    muscle: float
    shape: float
    notch: float
    breasts: float
    arms: bool
    supine: bool
    mediastinal_fat: float
    soft: float
    blood_arterial: float
    blood_venous: float
    bone: float
    lung: float
    lung_gradient: float
    dome_right: float
    dome_left: float
    dome_height: float
    heart: float
    vessels: float
    paths: dict[str, np.ndarray] = field(default_factory=dict)
    radii: dict[str, float] = field(default_factory=dict)

    def taper(self, z: np.ndarray | float) -> np.ndarray:
        """How wide the thoracic cavity is at height z, relative to its widest level (0..1)."""
        z = np.asarray(z, dtype=np.float32)
        up = np.clip((z + 55) / (self.apex + 55), 0, 1)
        down = np.clip((-40 - z) / 220, 0, 1)
        return np.sqrt(np.clip(1 - up**2.6, 0, 1)) * (1 - 0.12 * down**2)

    def cavity_axes(self, z: np.ndarray | float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Half width, half depth and centre y of the cavity at height z."""
        share = np.maximum(self.taper(z), 0.05)
        centre = 16 * np.clip((np.asarray(z, dtype=np.float32) - 10) / 90, 0, 1.3)
        return self.width * share, self.depth * share**0.8, centre

    @property
    def vertebra_y(self) -> float:
        """y of the centre of the vertebral bodies at the carina."""
        return self.depth - 24


def random_patient(rng: np.random.Generator) -> Patient:
    """A patient drawn from broad ranges (wider than any population, so that training sees variety)."""
    scale = rng.uniform(0.86, 1.12)
    width = 134 * scale * rng.uniform(0.93, 1.08)
    depth = 90 * scale * rng.uniform(0.9, 1.15)
    enhanced = rng.random() < 0.6
    arterial = rng.uniform(120, 420) if enhanced else rng.uniform(25, 50)
    venous = arterial * rng.uniform(0.6, 1.2) if enhanced else arterial
    paths, radii = _courses(rng, scale, depth)
    return Patient(
        width=width,
        depth=depth,
        apex=rng.uniform(92, 122) * scale,
        base=-170 * scale,
        fat=float(np.exp(rng.uniform(np.log(4), np.log(38)))),
        muscle=rng.uniform(10, 24),
        shape=rng.uniform(2.1, 2.7),
        notch=rng.uniform(0.25, 0.47),
        breasts=rng.uniform(0.5, 1.2) if rng.random() < 0.45 else 0.0,
        arms=rng.random() < 0.2,
        supine=rng.random() < 0.95,
        mediastinal_fat=rng.uniform(-115, -70) if rng.random() < 0.75 else rng.uniform(-60, 10),
        soft=rng.uniform(30, 65),
        blood_arterial=arterial,
        blood_venous=venous,
        bone=rng.uniform(250, 700),
        lung=rng.uniform(-915, -770),
        lung_gradient=rng.uniform(0, 0.9),
        dome_right=rng.uniform(-115, -65) * scale,
        dome_left=rng.uniform(-130, -75) * scale,
        dome_height=rng.uniform(40, 85),
        heart=rng.uniform(0.72, 1.08) * scale,
        vessels=rng.uniform(0.8, 1.25),
        paths=paths,
        radii=radii,
    )


def _courses(
    rng: np.random.Generator, scale: float, depth: float
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    spine = depth - 24
    gap = spine - 17
    plain = {
        "trachea": [(0, gap - 22, 190), (0, gap - 22, 80), (1, gap - 20, 40), (0, gap - 18, 3)],
        "bronchus_right": [(0, gap - 18, 4), (-16, gap - 17, -8), (-36, gap - 15, -22)],
        "bronchus_left": [(0, gap - 18, 4), (20, gap - 15, -12), (44, gap - 10, -24)],
        "oesophagus": [(6, gap - 8, 190), (8, gap - 6, 60), (6, gap - 6, 0), (12, gap - 10, -80),
                       (22, gap - 24, -150)],
        "aorta": [(-2, -28, -48), (-14, -34, -18), (-14, -32, 12), (0, -14, 34), (16, 8, 34),
                  (23, gap - 8, 14), (24, gap + 4, -25), (18, gap + 4, -90), (8, gap - 2, -190)],
        "carotid_left": [(8, -2, 36), (14, -8, 70), (24, -6, 150)],
        "subclavian_left": [(17, 8, 36), (26, 6, 75), (60, -4, 102), (110, -6, 104)],
        "brachiocephalic": [(-6, -20, 34), (-16, -16, 66), (-30, -8, 100), (-36, -8, 160)],
        "subclavian_right": [(-28, -10, 96), (-60, -4, 106), (-110, -6, 104)],
        "cava_superior": [(-27, -16, -40), (-30, -22, 0), (-28, -28, 44), (-38, -26, 80), (-44, -22, 150)],
        "innominate_left": [(-28, -30, 48), (4, -38, 58), (36, -30, 78), (48, -20, 150)],
        "cava_inferior": [(-24, 6, -70), (-26, 14, -110), (-24, 24, -190)],
        "azygos": [(-28, -14, 12), (-22, gap - 14, 18), (-10, gap, 8), (-8, gap + 3, -60),
                   (-6, gap + 3, -180)],
        "pulmonary_trunk": [(22, -50, -48), (20, -38, -22), (16, -22, -8)],
        "pulmonary_right": [(16, -22, -9), (-8, -14, -14), (-44, -6, -18)],
        "pulmonary_left": [(16, -22, -8), (34, -6, 0), (48, 6, -4)],
        "vein_right_upper": [(-12, 0, -40), (-34, -10, -30), (-48, -12, -18)],
        "vein_right_lower": [(-12, 8, -48), (-34, 10, -46), (-50, 14, -44)],
        "vein_left_upper": [(20, 0, -40), (42, -8, -26), (52, -10, -12)],
        "vein_left_lower": [(20, 8, -48), (40, 12, -46), (54, 16, -44)],
    }  # fmt: skip
    wide = {
        "trachea": 8.5, "bronchus_right": 6.5, "bronchus_left": 6.0, "oesophagus": 8.0, "aorta": 14.0,
        "carotid_left": 4.0, "subclavian_left": 4.5, "brachiocephalic": 6.0, "subclavian_right": 4.5,
        "cava_superior": 9.0, "innominate_left": 6.5, "cava_inferior": 12.0, "azygos": 4.0,
        "pulmonary_trunk": 14.0, "pulmonary_right": 10.5, "pulmonary_left": 10.5, "vein_right_upper": 6.5,
        "vein_right_lower": 6.5, "vein_left_upper": 6.5, "vein_left_lower": 6.5,
    }  # fmt: skip
    paths, radii = {}, {}
    for name, points in plain.items():
        course = np.asarray(points, dtype=float) * scale
        inner = rng.normal(0, 2.5, course.shape)
        inner[0] *= 0.2
        paths[name] = course + inner
        radii[name] = wide[name] * scale * rng.uniform(0.8, 1.4 if name in ("aorta", "oesophagus") else 1.25)
    for first, sides in (("trachea", "bronchus"), ("pulmonary_trunk", "pulmonary")):
        for side in ("right", "left"):
            paths[f"{sides}_{side}"][0] = paths[first][-1]
    return paths, radii
