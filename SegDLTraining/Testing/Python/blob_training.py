"""Blobs in noise and recipes for them: problems on which a network of any report trains within seconds."""

import numpy as np
from SegDLEngine.networks.registry import build_network
from SegDLTrainingLib.recipes import Recipe
from SegDLTrainingLib.volumes import PreparedVolume
from tiny_training import smallest_recipe

LABEL = {
    "value": 1,
    "name": "Blob",
    "color": [230, 120, 60],
    "terminology": {
        "category": {"scheme": "SCT", "code": "49755003", "meaning": "Morphologically Altered Structure"},
        "type": {"scheme": "SCT", "code": "4147007", "meaning": "Mass"},
    },
}


def blob_volume(seed: int, size: tuple[int, int, int], channels: int = 1) -> PreparedVolume:
    """A bright ball of a quarter to a third of the shortest side in noise of half its contrast."""
    rng = np.random.default_rng(seed)
    shape = size[::-1]
    radius = rng.uniform(0.25, 0.33) * min(size)
    centre = [rng.uniform(radius, length - radius) for length in shape]
    grid = np.meshgrid(*(np.arange(length) for length in shape), indexing="ij")
    blob = sum((axis - place) ** 2 for axis, place in zip(grid, centre, strict=True)) < radius**2
    image = blob + 0.5 * rng.standard_normal((channels, *shape))
    return PreparedVolume(image.astype(np.float16), blob.astype(np.uint8), (2.0, 2.0, 2.0), f"blob {seed}")


def blobs(count: int, size: tuple[int, int, int], channels: int = 1, first: int = 0) -> list[PreparedVolume]:
    return [blob_volume(first + seed, size, channels) for seed in range(count)]


def network_recipe(
    name: str, options: dict, patch: list[int], *, activation: str = "sigmoid", labels: int = 1, **changes
) -> Recipe:
    """A recipe for a network on patches [i, j] or [i, j, k]; ``changes`` are merged as in smallest_recipe."""
    build_network(name, options)
    training = {
        "epochs": 4, "steps_per_epoch": 10, "keep": "last", "validation": {"mode": "batches", "batches": 4}
    }  # fmt: skip
    sampling = {"mode": "patches", "patch": patch, "batch": 4, "foreground_share": 0.5}
    entries = {
        "augmentation": [],
        "loss": {"name": "sum", "terms": [{"name": "dice", "per": "batch"}, {"name": "cross_entropy"}]},
        "schedule": {"name": "constant", "start": 0.005},
        **changes,
        "sampling": {**sampling, **changes.get("sampling", {})},
        "training": {**training, **changes.get("training", {})},
    }
    recipe = smallest_recipe(**entries)
    recipe.card["network"] = {"name": name, "options": dict(options)}
    recipe.card["inference"].update(activation=activation)
    recipe.card["labels"] = [
        {**LABEL, "value": value, "name": f"Blob {value}"} for value in range(1, labels + 1)
    ]
    return recipe
