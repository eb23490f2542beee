"""A network, cases and recipes so small that a whole training takes a second."""

import copy
import json
from pathlib import Path

import numpy as np
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.images.writing import write_image
from SegDLTrainingLib.recipes import Recipe, load_recipe
from SegDLTrainingLib.volumes import PreparedVolume

TINY_NETWORK = {"in_channels": 7, "filters": 4, "depth": 3, "dropout": 0.1, "normalisation": "batch"}
SMALLEST_NETWORK = {"in_channels": 1, "filters": 2, "depth": 2, "dropout": 0.1, "normalisation": "batch"}


def tiny_recipe() -> Recipe:
    """Four epochs of the lung recipe with a small network."""
    data = copy.deepcopy(load_recipe("lung-tumor-unet2d").data)
    data["card"]["network"]["options"] = dict(TINY_NETWORK)
    data["sampling"].update(size=[32, 32], batch=4)
    data["schedule"] = {"name": "warm_cosine", "start": 0.01, "epochs": 4, "warm_up": 0.2}
    data["training"].update(epochs=4, steps_per_epoch=12, validation_slices=8, weight_average=0.8)
    return Recipe(data)


def smallest_recipe(**changes) -> Recipe:
    """Three epochs of four steps on 16x16 slices; ``changes`` are merged into its sections."""
    data = copy.deepcopy(tiny_recipe().data)
    data["card"]["network"]["options"] = dict(SMALLEST_NETWORK)
    data["card"]["inference"]["context"] = [0]
    data["sampling"] = {"size": [16, 16], "batch": 4, "tumour_share": 0.5}
    data["augmentation"] = [{"step": "flip", "axes": ["i"]}, {"step": "noise", "variance": 0.01}]
    data["schedule"] = {"name": "exponential", "start": 0.01}
    data["training"] = {
        "keep": "best", "epochs": 3, "steps_per_epoch": 4, "weight_average": 0.8, "validation_slices": 4,
        "gradient_clip": 5.0, "mixed_precision": "none",
    }  # fmt: skip
    for section, values in changes.items():
        if isinstance(values, dict) and section not in ("schedule", "loss", "optimiser"):
            data[section] = {**data[section], **values}
        else:
            data[section] = values
    return Recipe(data)


def bright_ball(seed: int, size: int = 32) -> PreparedVolume:
    """A dark mottled volume with a bright ball, its label."""
    rng = np.random.default_rng(seed)
    k, j, i = np.mgrid[:12, :size, :size]
    at = rng.uniform(size / 3, 2 * size / 3, 2)
    ball = (2.0 * (k - 6)) ** 2 + (j - at[0]) ** 2 + (i - at[1]) ** 2 < (7 * size / 32) ** 2
    image = 0.15 + 0.05 * rng.standard_normal(ball.shape) + 0.6 * ball
    image = np.clip(image, 0.01, 1).astype(np.float16)[None]
    return PreparedVolume(image, ball.astype(np.uint8), (2.0, 2.0, 3.0), str(seed))


def balls(count: int = 3) -> list[PreparedVolume]:
    return [bright_ball(seed, 16) for seed in range(count)]


def write_job(folder: Path, recipe: Recipe) -> tuple[Path, Path]:
    """Write five cases of ``balls`` with a manifest, and the recipe with steps for them."""
    grid = Grid((16, 16, 12), (2.0, 2.0, 3.0))
    rows = []
    for volume in balls(5):
        ct, labels = folder / f"{volume.name}.nrrd", folder / f"{volume.name}-labels.nrrd"
        write_image(Image(np.rint(volume.image[0] * 1000).astype(np.int16) - 500, grid, "CT", "HU"), ct)
        write_image(Image(volume.labels, grid), labels)
        rows.append(f"case{volume.name},patient{volume.name},{ct.name},{labels.name}")
    manifest = folder / "cases.csv"
    manifest.write_text("\n".join(["name,patient,CT,labels", *rows]) + "\n", encoding="utf-8")
    recipe.card["preprocessing"] = [{"step": "scale", "offset": 500, "factor": 0.001}]
    recipe.card["postprocessing"] = []
    path = folder / "recipe.json"
    path.write_text(json.dumps(recipe.data), encoding="utf-8")
    return path, manifest


def fit_arguments(job: tuple[Path, Path], output: Path) -> list[str]:
    """``segdl-train fit`` of a job, with events on stdout."""
    recipe, manifest = job
    settings = ["--workers", "1", "--device", "cpu", "--threads", "1", "--progress", "json"]
    return ["fit", "--recipe", str(recipe), "--data", str(manifest), "--output", str(output), *settings]
