"""Tiny data sets in the layouts in which those of the reports are published."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.images.writing import write_image

CENTRES = ("CHGJ", "CHMR", "CHUM", "CHUP", "CHUS")


def _written(path: Path, array: np.ndarray, spacing: tuple[float, float, float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    size = array.shape[::-1]
    origin = tuple(-0.5 * length * step for length, step in zip(size, spacing, strict=True))
    write_image(Image(array, Grid(size, spacing, origin)), path)


def _ball(shape: tuple[int, int, int], centre: np.ndarray, radius: float) -> np.ndarray:
    """A mask (k, j, i); centre and radius as shares of the sides."""
    axes = np.meshgrid(*(np.linspace(0, 1, length) for length in shape), indexing="ij")
    return sum((axis - place) ** 2 for axis, place in zip(axes, centre, strict=True)) < radius**2


def hecktor(folder: Path, patients: int) -> Path:
    """CT, PET and tumour as of 2021, with the table of boxes; patients of all centres in turn."""
    rows = ["PatientID,x1,x2,y1,y2,z1,z2"]
    for number in range(patients):
        rng = np.random.default_rng(number)
        name = f"{CENTRES[number % len(CENTRES)]}{number:03d}"
        ball = _ball((32, 40, 40), rng.uniform(0.4, 0.6, 3), 0.15)
        body = _ball((32, 40, 40), np.full(3, 0.5), 0.45)
        ct = np.where(body, 40, -1000) + rng.normal(0, 20, body.shape)
        _written(folder / f"{name}_ct.nii.gz", ct.astype(np.int16), (5.0, 5.0, 5.0))
        pet = body + 6.0 * ball + rng.uniform(0, 0.3, body.shape)
        _written(folder / f"{name}_pt.nii.gz", pet.astype(np.float32), (5.0, 5.0, 5.0))
        _written(folder / f"{name}_gtvt.nii.gz", ball.astype(np.uint8), (5.0, 5.0, 5.0))
        rows.append(f"{name},-72,72,-72,72,-72,72")
    (folder / "bbox.csv").write_text("\n".join(rows) + "\n")
    return folder


def brats(folder: Path, patients: int) -> Path:
    """Four sequences and the labels 1 to 4, a folder for each patient."""
    for number in range(patients):
        rng = np.random.default_rng(100 + number)
        shape, centre = (40, 56, 48), rng.uniform(0.4, 0.6, 3)
        brain = _ball(shape, np.full(3, 0.5), 0.42)
        labels = np.zeros(shape, np.uint8)
        for value, radius in ((2, 0.24), (4, 0.18), (3, 0.13), (1, 0.09)):
            labels[_ball(shape, centre, radius)] = value
        for place, what in enumerate(("t1", "t1ce", "t2", "flair")):
            grey = brain * (300 + 60 * place + 80.0 * (labels > place)) + brain * rng.normal(0, 10, shape)
            path = folder / f"BraTS_{number:03d}" / f"BraTS_{number:03d}_{what}.nii.gz"
            _written(path, grey.clip(0).astype(np.int16), (2.0, 2.0, 2.0))
        path = folder / f"BraTS_{number:03d}" / f"BraTS_{number:03d}_seg.nii.gz"
        _written(path, labels, (2.0, 2.0, 2.0))
    return folder


def _chest(number: int) -> tuple[np.ndarray, np.ndarray]:
    """CT (k, j, i) with two lungs in a body, and the mask of a lesion in one of them."""
    rng = np.random.default_rng(200 + number)
    k, j, i = np.mgrid[:10, :96, :112]
    body = ((i - 55.5) / 48) ** 2 + ((j - 48) / 36) ** 2 < 1
    lungs = ((abs(i - 55.5) - 22) / 15) ** 2 + ((j - 45) / 24) ** 2 < 1
    side = 22 if rng.random() < 0.5 else -22
    lesion = (i - 55.5 - side) ** 2 + (j - rng.uniform(38, 52)) ** 2 + (4 * (k - 5)) ** 2 < 7**2
    ct = np.where(body, 40, -1000)
    ct = np.where(lungs, -850, ct)
    ct = np.where(lesion, 20, ct) + rng.normal(0, 15, ct.shape)
    return ct.astype(np.int16), lesion


def decathlon_lungs(folder: Path, patients: int) -> Path:
    """Chest CT with tumours as the Medical Segmentation Decathlon has them."""
    entries = []
    for number in range(patients):
        ct, lesion = _chest(number)
        name = f"lung_{number:03d}.nii.gz"
        _written(folder / "imagesTr" / name, ct, (3.2, 3.2, 5.0))
        _written(folder / "labelsTr" / name, lesion.astype(np.uint8), (3.2, 3.2, 5.0))
        entries.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    about = {"name": "Lung", "modality": {"0": "CT"}, "labels": {"0": "background", "1": "cancer"}}
    text = json.dumps({**about, "numTraining": patients, "training": entries, "test": []})
    (folder / "dataset.json").write_text(text)
    return folder


def covid(folder: Path, patients: int, labels: bool = True) -> Path:
    """Chest CT and infection masks, a folder for each patient."""
    for number in range(patients):
        ct, lesion = _chest(number)
        _written(folder / f"patient-{number}" / "ct.nii.gz", ct, (3.2, 3.2, 5.0))
        if labels:
            path = folder / f"patient-{number}" / "infection_mask.nii.gz"
            _written(path, lesion.astype(np.uint8), (3.2, 3.2, 5.0))
    return folder


def hands(folder: Path, patients: int) -> Path:
    """MR of hands with four kinds of bones, a folder for each patient."""
    for number in range(patients):
        rng = np.random.default_rng(300 + number)
        shape = (40, 60, 60)
        labels = np.zeros(shape, np.uint8)
        for value in (1, 2, 3, 4):
            labels[_ball(shape, np.array([0.5, 0.2 * value, rng.uniform(0.3, 0.7)]), 0.09)] = value
        grey = 200 + 60.0 * labels + rng.normal(0, 10, shape)
        _written(folder / f"hand-{number}" / "mr.nii.gz", grey.astype(np.int16), (1.5, 1.5, 1.5))
        _written(folder / f"hand-{number}" / "labels.nii.gz", labels, (1.5, 1.5, 1.5))
    return folder


def data_set_for(recipe_id: str, folder: Path, patients: int) -> Path:
    """The data set that a recipe of a report is meant for, made in ``folder`` if it is not there."""
    kinds = {"000": hecktor, "001": decathlon_lungs, "002-brain": brats, "002-hand": hands, "004": brats}
    kinds |= {"003": covid, "003-pretrain": decathlon_lungs}
    make = next(kinds[key] for key in sorted(kinds, key=len, reverse=True) if recipe_id.startswith(key))
    place = folder / make.__name__
    return place if place.is_dir() else make(place, patients)
