"""Pulmonary arteries, veins and bronchi: trees that grow from the hilum to random points of the lung.

A tree divides its target points in two again and again, sends a branch part of the way to each half, and
takes its radii from Murray's law.  Bronchi run beside the arteries.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SegDLTrainingLib.synthesis.patient import Patient
from SegDLTrainingLib.synthesis.space import Space, coverage, paint

HILA = {-1: "right", 1: "left"}


@dataclass(frozen=True)
class Branch:
    start: np.ndarray
    end: np.ndarray
    radii: tuple[float, float]
    leaves: int


def grow_tree(
    root: np.ndarray, targets: np.ndarray, root_radius: float, leaf_radius: float, rng: np.random.Generator
) -> list[Branch]:
    """Branches (mm) that reach all ``targets`` (N, 3) from ``root``, the largest first."""
    exponent = np.log(max(root_radius / leaf_radius, 1.01)) / np.log(max(len(targets), 2))

    def radius(count: int) -> float:
        return leaf_radius * count**exponent

    branches: list[Branch] = []
    waiting = [(np.asarray(root, dtype=float), targets, root_radius)]
    while waiting:
        start, points, before = waiting.pop()
        if len(points) == 1:
            bow = 0.5 * (start + points[0]) + rng.normal(0, 0.06, 3) * np.linalg.norm(points[0] - start)
            middle = radius(1) * 0.9
            branches.append(Branch(start, bow, (min(before, radius(1) * 1.2), middle), 1))
            branches.append(Branch(bow, points[0], (middle, middle * 0.5), 1))
            continue
        end = start + rng.uniform(0.25, 0.5) * (points.mean(axis=0) - start)
        end = end + rng.normal(0, 0.05, 3) * np.linalg.norm(end - start)
        own = radius(len(points))
        branches.append(Branch(start, end, (min(before, own * 1.25), own), len(points)))
        spread = points - points.mean(axis=0)
        direction = np.linalg.svd(spread, full_matrices=False)[2][0] + rng.normal(0, 0.25, 3)
        order = np.argsort(spread @ direction)
        cut = int(np.clip(round(len(points) * rng.uniform(0.3, 0.7)), 1, len(points) - 1))
        waiting.append((end, points[order[:cut]], own))
        waiting.append((end, points[order[cut:]], own))
    return sorted(branches, key=lambda branch: -branch.leaves)


def paint_branches(
    volume: np.ndarray, space: Space, branches: list[Branch], value: float, wall: float = 0.0
) -> None:
    """Blend branches into the volume; thin ones by the share of the voxel that they fill."""
    if not branches:
        return
    ends = np.array([(branch.start, branch.end) for branch in branches])
    places = space.voxels(ends.reshape(-1, 3)).reshape(-1, 2, 3)
    for branch, place in zip(branches, places, strict=True):
        widest = max(branch.radii) + wall
        box = space.box_of_voxels(place, widest + space.edge)
        if box is None:
            continue
        gap = space.capsule(branch.start, branch.end, branch.radii, box) - wall
        peak = 1 - np.exp(-2.5 * (widest / space.edge * 1.1) ** 2)
        paint(volume, peak * coverage(gap, space.edge), value, box)


def paint_lung_trees(
    volume: np.ndarray, space: Space, patient: Patient, lung: np.ndarray, rng: np.random.Generator
) -> None:
    """Arteries, veins and bronchi of both lungs; ``lung`` is the signed distance to the lungs' surface."""
    inside = np.argwhere(lung < -3)
    if len(inside) == 0:
        return
    number = int(rng.integers(320, 650))
    wall, lumen = rng.uniform(0.4, 1.6), rng.uniform(-1000, -930)
    thick = rng.uniform(0.55, 0.85)
    for side, name in HILA.items():
        sample = inside[rng.integers(0, len(inside), 4 * number)]
        points = np.stack([axis[tuple(sample.T)] for axis in (space.x, space.y, space.z)], axis=1)
        points = points[np.sign(points[:, 0]) == side].astype(float)
        if len(points) < 20:
            continue
        artery_root = patient.paths[f"pulmonary_{name}"][-1]
        radius = patient.radii[f"pulmonary_{name}"] * thick
        leaf = 0.72 * patient.vessels
        arteries = grow_tree(artery_root, points[:number], radius, leaf, rng)
        bronchus_root = patient.paths[f"bronchus_{name}"][-1]
        offset = bronchus_root - artery_root
        airways = [
            Branch(
                branch.start + offset * min(1, branch.leaves / 60) + branch.radii[0] * 1.1,
                branch.end + offset * min(1, branch.leaves / 80) + branch.radii[1] * 1.1,
                (branch.radii[0] * 0.6, branch.radii[1] * 0.6),
                branch.leaves,
            )
            for branch in arteries
            if branch.leaves >= 14
        ]
        half = points[number : 2 * number]
        upper = half[:, 2] > np.median(half[:, 2])
        for level, part in (("upper", half[upper]), ("lower", half[~upper])):
            vein = f"vein_{name}_{level}"
            if len(part) > 4:
                tree = grow_tree(patient.paths[vein][-1], part, patient.radii[vein] * thick, leaf, rng)
                paint_branches(volume, space, tree, patient.blood_arterial)
        paint_branches(volume, space, arteries, 0.5 * (patient.blood_arterial + patient.blood_venous))
        paint_branches(volume, space, airways, patient.soft, wall)
        paint_branches(volume, space, airways, lumen)
