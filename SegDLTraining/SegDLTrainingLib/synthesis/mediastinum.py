"""Diaphragm and upper abdomen, heart, great vessels, airways, oesophagus and nodes."""

from __future__ import annotations

import numpy as np

from SegDLTrainingLib.synthesis.patient import Patient
from SegDLTrainingLib.synthesis.space import Space, coverage, paint, smooth_field

LUNG_FREE = (
    "aorta",
    "cava_superior",
    "cava_inferior",
    "trachea",
    "oesophagus",
    "pulmonary_trunk",
    "brachiocephalic",
    "carotid_left",
    "subclavian_left",
    "innominate_left",
    "subclavian_right",
)
HALF_FREE = ("pulmonary_right", "pulmonary_left", "bronchus_right", "bronchus_left", "azygos")


def diaphragm_distance(space: Space, patient: Patient, rng: np.random.Generator) -> np.ndarray:
    """Signed distance (mm, about): negative below the domes of the diaphragm."""
    domes = []
    for top in (patient.dome_right, patient.dome_left):
        dx = (np.abs(space.x) - 0.5 * patient.width) / (0.5 * patient.width)
        dx = np.where(dx < 0, 0.35 * dx, dx)
        dy = (space.y + rng.uniform(0, 14)) / patient.depth
        dy = np.where(dy < 0, rng.uniform(0.5, 0.9) * dy, rng.uniform(0.9, 1.2) * dy)
        domes.append(top - patient.dome_height * (dx**2 + dy**2))
    share = np.clip(0.5 + space.x / 40, 0, 1)
    height = domes[0] * (1 - share) + domes[1] * share
    for wavelength, amount in ((80.0, rng.uniform(0, 12)), (35.0, rng.uniform(0, 5))):
        height += amount * smooth_field(space.grid.shape, space.grid.spacing, wavelength, rng)
    return (space.z - height) * 0.75


def paint_abdomen(
    volume: np.ndarray, space: Space, patient: Patient, cavity: np.ndarray, diaphragm: np.ndarray,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """Liver, spleen, stomach with or without gas, and fat below the diaphragm."""
    below = np.maximum(cavity + 1, diaphragm)
    paint(volume, coverage(below, space.edge), rng.uniform(-105, -60))
    enhanced = patient.blood_venous > 80
    texture = 5 * smooth_field(volume.shape, space.grid.spacing, 10, rng)
    liver = np.maximum(below + 3, space.x - rng.uniform(0, 45))
    paint(volume, coverage(liver, space.edge), rng.uniform(45, 120 if enhanced else 65) + texture)
    low = patient.dome_left - 42
    spleen = np.maximum(below + 3, space.ellipsoid((88, 40, low), (38, 46, 48)))
    paint(volume, coverage(spleen, space.edge), rng.uniform(45, 140 if enhanced else 60) + texture)
    stomach = np.maximum(below + 4, space.ellipsoid((62, -18, low + 4), (46, 44, 48)))
    paint(volume, coverage(stomach, space.edge), rng.uniform(10, 60))
    if rng.random() < 0.6:
        level = rng.uniform(-45, -5)
        gas = np.maximum(stomach + 5, space.y - level)
        paint(volume, coverage(gas, space.edge), -980)
    paint(volume, 0.8 * coverage(np.abs(below + 1.5) - 1.5, space.edge), patient.soft)


def heart_shapes(space: Space, patient: Patient, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Distances to the heart's outline and its chambers; place, turn and outline differ by patient."""
    s, turn = patient.heart, rng.uniform(12, 45)
    dx, dy, dz = rng.normal(0, (7, 5, 9))
    wobble = rng.uniform(0, 4) * smooth_field(space.grid.shape, space.grid.spacing, 35, rng)
    shapes = {
        "left": ((34, -30, -72), (56, 40, 46), turn),
        "right": ((-14, -34, -62), (38, 36, 46), 0),
        "left_atrium": ((6, 4, -50), (34, 20, 24), 0),
        "left_ventricle": ((44, -24, -74), (36, 22, 28), turn),
        "right_ventricle": ((12, -52, -68), (38, 14, 34), 0.7 * turn),
        "right_atrium": ((-26, -26, -62), (20, 24, 34), 0),
    }
    distances = {}
    for name, ((x, y, z), radii, angle) in shapes.items():
        centre = (x * s + dx, y + dy, z * s + dz)
        size = np.asarray(radii) * s * rng.uniform(0.92, 1.08, 3)
        distances[name] = space.ellipsoid(centre, size, angle) + wobble
    return distances


class Mediastinum:
    """Distances to the organs between the lungs, computed once and used for lung outline and painting."""

    def __init__(self, space: Space, patient: Patient, rng: np.random.Generator):
        self.space, self.patient = space, patient
        self.heart = heart_shapes(space, patient, rng)
        self.tubes = {name: space.tube(path, patient.radii[name]) for name, path in patient.paths.items()}
        self.pericardial_fat = rng.uniform(2, 14)

    def outline(self, column: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Signed distance (mm) to all that the lungs do not enter, with the fat around it."""
        space, patient = self.space, self.patient
        fat = rng.uniform(1.5, 7)
        heart = np.minimum(self.heart["left"], self.heart["right"])
        heart = np.minimum(heart, self.heart["left_atrium"]) - self.pericardial_fat * 0.6
        distance = np.minimum(heart, column - 6)
        for name in LUNG_FREE:
            np.minimum(distance, self.tubes[name] - fat, out=distance)
        for name in HALF_FREE:
            near = np.clip(1.3 - np.abs(space.x) / 34, 0, 1) * 12 - 8
            np.minimum(distance, self.tubes[name] - fat * 0.6 - near, out=distance)
        front = rng.uniform(2, 14)
        middle = rng.uniform(-4, 8) + 5 * smooth_field(space.grid.shape, space.grid.spacing, 60, rng)
        sheet = np.abs(space.x - middle) - np.where(space.y < -0.45 * patient.depth, front, 4.0)
        sheet -= 7 * np.clip((space.z - 50) / 40, 0, 1)
        behind = np.maximum(np.abs(space.x) - 26, patient.vertebra_y + 8 - space.y)
        return np.minimum(np.minimum(distance, sheet), behind)

    def paint(self, volume: np.ndarray, rng: np.random.Generator) -> None:
        """Fat, heart, vessels, oesophagus, nodes, thyroid; then the air of trachea and main bronchi."""
        space, patient = self.space, self.patient
        arterial, venous = patient.blood_arterial, patient.blood_venous
        wall = patient.soft + (rng.uniform(20, 60) if arterial > 80 else 0)
        for name in ("left", "right", "left_atrium"):
            sac = coverage(self.heart[name] - self.pericardial_fat * 0.5, space.edge)
            paint(volume, sac, patient.mediastinal_fat)
        for name in ("left", "right", "left_atrium"):
            paint(volume, coverage(self.heart[name], space.edge), wall)
        for name in ("left_atrium", "left_ventricle"):
            paint(volume, coverage(self.heart[name] + 1, space.edge), arterial)
        for name in ("right_ventricle", "right_atrium"):
            paint(volume, coverage(self.heart[name] + 1, space.edge), venous)
        self._paint_nodes(volume, rng)
        for name, gap in self.tubes.items():
            if name in ("trachea", "bronchus_right", "bronchus_left"):
                continue
            blood = venous if ("cava" in name or name in ("innominate_left", "azygos")) else arterial
            if name.startswith("pulmonary"):
                blood = 0.5 * (arterial + venous) * rng.uniform(0.8, 1.3)
            value = rng.uniform(20, 50) if name == "oesophagus" else blood
            paint(volume, coverage(gap, space.edge), value)
        if rng.random() < 0.4:
            paint(volume, coverage(self.tubes["oesophagus"] + rng.uniform(4, 6), space.edge), -700)
        if rng.random() < 0.4:
            rim = np.abs(self.tubes["aorta"] + 1) - 1
            spots = smooth_field(volume.shape, space.grid.spacing, 10, rng) > 1.6
            paint(volume, coverage(rim, space.edge) * spots, 500)
        for name in ("bronchus_right", "bronchus_left", "trachea"):
            paint(volume, coverage(self.tubes[name] - 1.8, space.edge), patient.soft)
        for name in ("bronchus_right", "bronchus_left", "trachea"):
            paint(volume, coverage(self.tubes[name], space.edge), rng.uniform(-1000, -960))

    def _paint_nodes(self, volume: np.ndarray, rng: np.random.Generator) -> None:
        """Lymph nodes up to 12 mm along the airways and in the hila, a thyroid that may be a goitre."""
        patient = self.patient
        chains = [patient.paths[name] for name in ("trachea", "bronchus_right", "bronchus_left", "azygos")]
        for _ in range(int(rng.integers(8, 34))):
            chain = chains[int(rng.integers(len(chains)))]
            at = chain[int(rng.integers(1, len(chain)))] + rng.normal(0, 10, 3)
            self._paint_blob(volume, at, rng.uniform(2, 6, 3) * (1, 1, 1.4), rng.uniform(20, 70))
        if rng.random() < 0.15:
            at = patient.paths["bronchus_right"][int(rng.integers(1, 3))] + rng.normal(0, 8, 3)
            self._paint_blob(volume, at, rng.uniform(2, 5, 3), rng.uniform(300, 900))
        size = rng.uniform(6, 11) * (2.0 if rng.random() < 0.12 else 1.0)
        for side in (-1, 1):
            at = np.array([side * 16, patient.paths["trachea"][1][1] - 4, patient.apex + rng.uniform(0, 30)])
            self._paint_blob(volume, at, np.array([size, size * 1.1, size * 2]), rng.uniform(70, 200))

    def _paint_blob(self, volume: np.ndarray, at: np.ndarray, radii: np.ndarray, value: float) -> None:
        box = self.space.box(at, float(np.max(radii)) + 6)
        if box is not None:
            shape = self.space.ellipsoid(at, radii, 0.0, box)
            paint(volume, coverage(shape, self.space.edge), value, box)
