"""Grey values of the tissues: plausible ones for each modality, drawn anew for every case.

As in synthetic-data training of brain segmentation (Billot et al. 2023, SynthSeg,
doi:10.1016/j.media.2023.102789) the contrast is random, here round what the sequences show, so that a
network learns shapes and relations rather than the grey values of one scanner.  Values are in units of white
matter in T1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SegDLTrainingLib.synthesis.brain.anatomy import Anatomy
from SegDLTrainingLib.synthesis.brain.tumours import (
    ENHANCING,
    NECROSIS,
    NON_ENHANCING,
    OEDEMA,
    TumourTissue,
)
from SegDLTrainingLib.synthesis.space import paint, smooth_field

MODALITIES = ("FLAIR", "T1", "T1c", "T2")

# White matter, cortex, deep nuclei, pallidum, cerebrospinal fluid.
MEANS = {
    "T1": (1.0, 0.76, 0.84, 0.92, 0.35),
    "T1c": (1.0, 0.80, 0.86, 0.94, 0.42),
    "T2": (0.50, 0.70, 0.58, 0.45, 1.60),
    "FLAIR": (0.75, 0.95, 0.88, 0.72, 0.25),
}


@dataclass(frozen=True)
class Tissues:
    """Mean values of one modality."""

    white: float
    grey: float
    nuclei: float
    pallidum: float
    fluid: float


def draw_tissues(rng: np.random.Generator) -> dict[str, Tissues]:
    """Means by modality: jittered, with more or less contrast; T1c is T1 with a jitter of its own."""
    spread = rng.choice([0.05, 0.12], p=[0.7, 0.3])
    tissues = {}
    for name in MODALITIES:
        means = np.array(MEANS[name]) * np.exp(rng.normal(0, spread, 5))
        middle = means[:3].mean()
        means[:4] = middle + (means[:4] - middle) * rng.uniform(0.5, 1.25)
        means[4] = middle + (means[4] - middle) * rng.uniform(0.65, 1.1)
        tissues[name] = Tissues(*means)
    return tissues


def tumour_means(tissues: dict[str, Tissues], rng: np.random.Generator) -> dict[str, dict[int, float]]:
    """Means by modality and label value, relative to the case's healthy tissues.

    Water content is drawn once for each tissue, so that T1, T2 and FLAIR agree about it.
    """
    water = {
        OEDEMA: rng.uniform(0.15, 0.7),
        NON_ENHANCING: rng.uniform(0.2, 0.9),
        ENHANCING: rng.uniform(0.0, 0.6),
        NECROSIS: rng.uniform(0.4, 1.1),
    }
    # How much of its brightness in FLAIR a necrosis keeps; a cyst looks like cerebrospinal fluid everywhere.
    kept = rng.uniform(0, 1)
    cyst = rng.random() < 0.35
    if cyst:
        water[NECROSIS], kept = 1.0, rng.uniform(0, 0.15)
    blood = not cyst and rng.random() < 0.1
    uptake = float(np.exp(rng.uniform(np.log(1.12), np.log(2.3))))
    bright = rng.uniform(1.25, 2.1)
    result: dict[str, dict[int, float]] = {}
    t1, t1c, t2, flair = (tissues[name] for name in ("T1", "T1c", "T2", "FLAIR"))
    result["T2"] = {
        value: t2.grey + (t2.fluid - t2.grey) * share * rng.uniform(0.8, 1.15)
        for value, share in water.items()
    }
    for name, healthy in (("T1", t1), ("T1c", t1c)):
        result[name] = {
            value: healthy.white - (healthy.white - healthy.fluid) * share * rng.uniform(0.5, 1.0)
            for value, share in water.items()
        }
        if cyst:
            result[name][NECROSIS] = healthy.fluid * rng.uniform(0.95, 1.25)
    result["T1c"][ENHANCING] = t1c.white * uptake
    if blood:
        result["T1"][NECROSIS] = t1.white * rng.uniform(0.9, 1.4)
        result["T1c"][NECROSIS] = t1c.white * rng.uniform(0.9, 1.3)
    top = flair.grey * bright
    result["FLAIR"] = {
        OEDEMA: top * rng.uniform(0.85, 1.0),
        NON_ENHANCING: top * rng.uniform(0.85, 1.1),
        ENHANCING: flair.grey + (top - flair.grey) * rng.uniform(0.0, 1.0),
        NECROSIS: flair.fluid + (top - flair.fluid) * kept,
    }
    return result


def paint_modality(
    name: str,
    anatomy: Anatomy,
    tumour: TumourTissue,
    tissues: dict[str, Tissues],
    tumour_values: dict[int, float],
    spacing: tuple[float, ...],
    rng: np.random.Generator,
) -> np.ndarray:
    """The modality before the scanner, float32 (k, j, i); fluid fills everything outside the brain."""
    healthy = tissues[name]
    shape = anatomy.grey.shape
    volume = np.full(shape, healthy.white, np.float32)
    volume *= 1 + rng.uniform(0, 0.04) * smooth_field(shape, spacing, 30, rng)
    paint(volume, anatomy.grey, healthy.grey)
    paint(volume, anatomy.nuclei, healthy.nuclei)
    paint(volume, anatomy.pallidum, healthy.pallidum)
    _paint_age(name, volume, anatomy, healthy, rng)
    texture = rng.uniform(0.02, 0.14)
    for value in (OEDEMA, NECROSIS, NON_ENHANCING, ENHANCING):
        level = tumour_values[value] * (1 + texture * smooth_field(shape, spacing, rng.uniform(5, 12), rng))
        if value == OEDEMA:
            paint(volume, anatomy.fluid, healthy.fluid)
        paint(volume, tumour.shares[value], level)
    _paint_vessels(name, volume, anatomy, healthy, rng)
    return volume


def _paint_age(
    name: str, volume: np.ndarray, anatomy: Anatomy, healthy: Tissues, rng: np.random.Generator
) -> None:
    """Rim of the ventricles and spots: bright in FLAIR and T2, a little dark in T1."""
    strength = rng.uniform(0.0, 0.8)
    level = {
        "FLAIR": healthy.grey * rng.uniform(1.1, 1.6),
        "T2": healthy.grey + 0.3 * (healthy.fluid - healthy.grey),
        "T1": healthy.grey,
        "T1c": healthy.grey,
    }[name]
    paint(volume, strength * np.maximum(anatomy.rim, anatomy.spots), level)


def _paint_vessels(
    name: str, volume: np.ndarray, anatomy: Anatomy, healthy: Tissues, rng: np.random.Generator
) -> None:
    """Contrast medium in veins, dura and plexus; flow makes them dark or bright in the other sequences."""
    if name == "T1c":
        paint(volume, anatomy.vessels, healthy.white * rng.uniform(1.0, 2.3))
        paint(volume, anatomy.plexus, healthy.white * rng.uniform(0.9, 1.9))
        return
    level = {"T1": healthy.grey, "T2": 0.6 * healthy.grey, "FLAIR": healthy.grey}[name]
    paint(volume, rng.uniform(0, 0.8) * anatomy.vessels, level * rng.uniform(0.5, 1.3))
    paint(volume, rng.uniform(0.2, 0.9) * anatomy.plexus, healthy.grey * rng.uniform(0.8, 1.3))
