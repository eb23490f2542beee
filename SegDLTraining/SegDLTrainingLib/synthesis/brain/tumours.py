"""Gliomas and their like: necrosis, enhancing rim, non-enhancing parts and oedema along white matter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SegDLTrainingLib.synthesis.brain.anatomy import Anatomy, Outline
from SegDLTrainingLib.synthesis.brain.head import HeadSpace
from SegDLTrainingLib.synthesis.space import coverage, smooth_field

NECROSIS, OEDEMA, NON_ENHANCING, ENHANCING = 1, 2, 3, 4
KINDS = ("ring", "solid", "patchy", "low grade")


@dataclass(frozen=True)
class Tumour:
    """What is decided before it is drawn.

    ``centre`` and ``radius`` in mm, head coordinates; ``kind`` of KINDS; ``swelling``: how far (mm) oedema
    reaches beyond the core.
    """

    centre: np.ndarray
    radius: float
    kind: str
    swelling: float


@dataclass(frozen=True)
class TumourTissue:
    """Shares 0..1 (k, j, i) of the four tissues by label value, and the labels themselves (uint8)."""

    shares: dict[int, np.ndarray]
    labels: np.ndarray


def plan_tumours(rng: np.random.Generator, tumour_free_share: float) -> list[Tumour]:
    """None, one, or one with a satellite."""
    if rng.random() < tumour_free_share:
        return []
    first = _plan(rng, float(np.exp(rng.uniform(np.log(7), np.log(32)))))
    if rng.random() > 0.15:
        return [first]
    return [first, _plan(rng, float(rng.uniform(3, 9)))]


def _plan(rng: np.random.Generator, radius: float) -> Tumour:
    side = rng.choice([-1, 1])
    direction = rng.standard_normal(3)
    direction *= rng.uniform(0.2, 0.85) / np.linalg.norm(direction)
    centre = np.array([side * 30, 2, 18]) + direction * [32, 66, 44]
    kind = str(rng.choice(KINDS, p=[0.56, 0.08, 0.18, 0.18]))
    swelling = rng.uniform(0, 8) if kind == "low grade" else rng.uniform(2, 26)
    return Tumour(centre, radius, kind, float(swelling))


def draw_tumours(
    tumours: list[Tumour], space: HeadSpace, outline: Outline, anatomy: Anatomy, rng: np.random.Generator
) -> TumourTissue:
    """Later tumours take what earlier ones had; oedema only takes what is no core."""
    shape = space.grid.shape
    shares = {value: np.zeros(shape, np.float32) for value in (NECROSIS, OEDEMA, NON_ENHANCING, ENHANCING)}
    for tumour in tumours:
        core = _core(tumour, space, outline, anatomy, rng)
        inside = coverage(core, 2.0 * space.edge)
        oedema = _oedema(tumour, core, space, outline, anatomy, rng)
        for value in shares:
            shares[value] *= 1 - inside
        shares[OEDEMA] = np.maximum(shares[OEDEMA], oedema * (1 - inside))
        for value, part in _interior(tumour, core, space, rng).items():
            shares[value] += part * inside
    shares[OEDEMA] *= 1 - np.clip(shares[NECROSIS] + shares[NON_ENHANCING] + shares[ENHANCING], 0, 1)
    return TumourTissue(shares, _labels(shares, outline.mask))


def _labels(shares: dict[int, np.ndarray], mask: np.ndarray) -> np.ndarray:
    stack = np.stack([shares[value] for value in (NECROSIS, OEDEMA, NON_ENHANCING, ENHANCING)])
    best = np.argmax(stack, axis=0).astype(np.uint8) + 1
    return np.where((stack.sum(axis=0) >= 0.5) & mask, best, np.uint8(0)).astype(np.uint8)


def _core(
    tumour: Tumour, space: HeadSpace, outline: Outline, anatomy: Anatomy, rng: np.random.Generator
) -> np.ndarray:
    """Signed distance (mm) to the core, irregular, inside the brain and mostly outside the ventricles."""
    shape, spacing, radius = space.grid.shape, space.grid.spacing, tumour.radius
    radii = radius * rng.uniform(0.75, 1.3, 3)
    core = space.ellipsoid(tumour.centre, radii, turn_deg=rng.uniform(0, 180))
    core = core + 0.22 * radius * rng.uniform(0.4, 1.6) * smooth_field(shape, spacing, max(radius, 6), rng)
    core = core + rng.uniform(0.3, 1.5) * smooth_field(shape, spacing, 5, rng)
    core = np.maximum(core, outline.brain + rng.uniform(0, 2))
    return np.maximum(core, -anatomy.ventricles + rng.uniform(0, 1.5))


def _oedema(
    tumour: Tumour,
    core: np.ndarray,
    space: HeadSpace,
    outline: Outline,
    anatomy: Anatomy,
    rng: np.random.Generator,
) -> np.ndarray:
    """Share of oedema: as far as ``swelling``, in fingers of white matter, hardly across the midline."""
    shape, spacing = space.grid.shape, space.grid.spacing
    reach = tumour.swelling * (0.75 + 0.45 * smooth_field(shape, spacing, 16, rng))
    resistance = rng.uniform(4, 14) * anatomy.grey + 4 * anatomy.nuclei + 30 * anatomy.fluid
    across = np.maximum(-np.sign(tumour.centre[0]) * space.x, 0)
    distance = core + resistance + 0.7 * across - reach
    distance = distance + rng.uniform(0.3, 1.5) * smooth_field(shape, spacing, 6, rng)
    distance = np.maximum(distance, outline.brain)
    return coverage(distance, rng.uniform(1.5, 5.0)) * (1 - anatomy.fluid)


def _interior(
    tumour: Tumour, core: np.ndarray, space: HeadSpace, rng: np.random.Generator
) -> dict[int, np.ndarray]:
    """The parts of the core by label value; they add up to 1."""
    shape, spacing, edge = space.grid.shape, space.grid.spacing, space.edge
    patches = smooth_field(shape, spacing, max(0.5 * tumour.radius, 4), rng)
    if tumour.kind == "low grade":
        enhancing = coverage((1.8 + rng.uniform(0, 1.5) - patches) * 3, edge)
        return {NON_ENHANCING: 1 - enhancing, ENHANCING: enhancing}
    if tumour.kind == "solid":
        return {ENHANCING: np.ones(shape, np.float32)}
    if tumour.kind == "patchy":
        other = smooth_field(shape, spacing, max(0.5 * tumour.radius, 4), rng)
        enhancing = coverage((rng.uniform(-1.0, 0.6) - patches) * 3, edge)
        necrotic = coverage((rng.uniform(0.2, 1.5) - other) * 3, edge) * (1 - enhancing)
        return {ENHANCING: enhancing, NECROSIS: necrotic, NON_ENHANCING: 1 - enhancing - necrotic}
    thickness = min(rng.uniform(1.2, 5.5), 0.4 * tumour.radius) * np.exp(rng.uniform(0.1, 0.6) * patches)
    rim = coverage(-core - thickness, edge)
    nodules = smooth_field(shape, spacing, max(0.6 * tumour.radius, 5), rng)
    loose = coverage((rng.uniform(1.0, 2.5) - nodules) * 3, edge)
    return {
        ENHANCING: rim * (1 - loose),
        NON_ENHANCING: loose,
        NECROSIS: (1 - rim) * (1 - loose),
    }
