"""A whole thorax CT from a seed: patient, chest wall, organs, lungs, findings, tumours, scanner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image

from SegDLTrainingLib.synthesis.chest_wall import cavity_distance, paint_body, paint_couch, paint_skeleton
from SegDLTrainingLib.synthesis.lungs import paint_findings, paint_parenchyma
from SegDLTrainingLib.synthesis.mediastinum import Mediastinum, diaphragm_distance, paint_abdomen
from SegDLTrainingLib.synthesis.patient import random_patient
from SegDLTrainingLib.synthesis.scanner import scan
from SegDLTrainingLib.synthesis.space import Space, smooth_maximum
from SegDLTrainingLib.synthesis.tumours import Tumour, add_tumour
from SegDLTrainingLib.synthesis.vessels import paint_lung_trees

EXTENT_MM = (420.0, 330.0, 330.0)
CARINA_FROM_TOP = 0.44


@dataclass(frozen=True)
class Phantom:
    """``ct`` (int16, HU), ``labels`` (uint8, 1 = tumour), ``lungs`` (uint8, 1 = lung with its tumours)."""

    ct: Image
    labels: Image
    lungs: Image
    tumours: tuple[Tumour, ...] = ()
    findings: tuple[str, ...] = field(default=())


def thorax_phantom(
    seed: int,
    spacing: Sequence[float] = (1.5, 1.5, 3.0),
    extent_mm: Sequence[float] = EXTENT_MM,
    tumours: int | Sequence[float] | None = 1,
) -> tuple[Image, Image]:
    """CT and tumour labels of a random thorax; the same arguments give the same voxels.

    ``tumours``: how many, or their diameters in mm; None draws a number (none in a quarter of the seeds).
    """
    phantom = make_phantom(seed, spacing, extent_mm, tumours)
    return phantom.ct, phantom.labels


def make_phantom(
    seed: int,
    spacing: Sequence[float] = (1.5, 1.5, 3.0),
    extent_mm: Sequence[float] = EXTENT_MM,
    tumours: int | Sequence[float] | None = None,
) -> Phantom:
    """As ``thorax_phantom``, with the lungs, the tumours' properties and the names of benign findings."""
    rng = np.random.default_rng(seed)
    grid = _grid(spacing, extent_mm)
    patient = random_patient(rng)
    space = Space(grid, rng, bend_mm=rng.uniform(2, 6))
    volume = np.full(grid.shape, -1000, dtype=np.float32)

    cavity = cavity_distance(space, patient)
    diaphragm = diaphragm_distance(space, patient, rng)
    paint_body(volume, space, patient, cavity, rng)
    paint_abdomen(volume, space, patient, cavity, diaphragm, rng)
    column = paint_skeleton(volume, space, patient, rng)
    mediastinum = Mediastinum(space, patient, rng)
    lung = smooth_maximum(cavity, -mediastinum.outline(column, rng), 4.0)
    lung = smooth_maximum(lung, -diaphragm, 5.0)
    paint_parenchyma(volume, space, patient, lung, rng)
    mediastinum.paint(volume, rng)
    paint_lung_trees(volume, space, patient, lung, rng)
    findings = paint_findings(volume, space, patient, lung, cavity, rng)

    labels = np.zeros(grid.shape, dtype=np.uint8)
    placed = [
        add_tumour(volume, labels, space, patient, lung, rng, diameter)
        for diameter in _diameters(tumours, rng)
    ]
    if rng.random() < 0.8:
        paint_couch(volume, space, patient, rng)
    ct = Image(scan(volume, space, rng), grid, modality="CT", unit="HU", metadata={"phantom_seed": seed})
    return Phantom(
        ct,
        Image(labels, grid),
        Image(((lung < 0) | (labels > 0)).astype(np.uint8), grid),
        tuple(tumour for tumour in placed if tumour is not None),
        tuple(findings),
    )


def _diameters(tumours: int | Sequence[float] | None, rng: np.random.Generator) -> list[float | None]:
    if tumours is None:
        return [None] * int(rng.choice([0, 1, 2, 3, 4], p=[0.25, 0.3, 0.2, 0.15, 0.1]))
    if isinstance(tumours, int):
        return [None] * tumours
    return [float(diameter) for diameter in tumours]


def _grid(spacing: Sequence[float], extent_mm: Sequence[float]) -> Grid:
    """A grid whose voxels lie at multiples of the spacing, with the carina at the origin."""
    step = np.asarray(spacing, dtype=float)
    size = np.maximum(np.rint(np.asarray(extent_mm) / step).astype(int), 8)
    low = np.array([size[0] / 2, size[1] / 2, size[2] * (1 - CARINA_FROM_TOP)])
    return Grid(tuple(size), tuple(step), tuple(-np.rint(low) * step))
