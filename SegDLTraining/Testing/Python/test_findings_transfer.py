"""Findings of report 003 about transfer that a phantom can show, by the recipes of the report's own rows.

Network, augmentation, mixup, loss, optimiser, what is frozen and what starts anew are the recipes'; width,
patch, rate and length are cut so that a comparison takes seconds.
"""

import copy
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from SegDLEngine.networks.registry import build_network
from SegDLEngine.protocol import Reporter
from SegDLTrainingLib.checkpoint import read_tensors
from SegDLTrainingLib.fit import FitResult, fit
from SegDLTrainingLib.recipes import Recipe, load_recipe
from SegDLTrainingLib.start import Start
from SegDLTrainingLib.statistics import with_own_statistics
from SegDLTrainingLib.svcca.study import compare_training
from SegDLTrainingLib.transfer import initial_weights
from SegDLTrainingLib.volumes import PreparedVolume

SHAPE = (6, 48, 48)
SEED = 7


pytestmark = pytest.mark.usefixtures("one_thread")


def smooth(rng: np.random.Generator, times: int) -> np.ndarray:
    """Noise (k, j, i) of deviation 1, averaged over 3x3 pixels so many times."""
    noise = rng.standard_normal(SHAPE)
    for _ in range(times):
        for axis in (1, 2):
            noise = (np.roll(noise, 1, axis) + noise + np.roll(noise, -1, axis)) / 3
    return noise / noise.std()


def mottled_volume(seed: int, ragged: bool) -> PreparedVolume:
    """Five bright blobs in noise, of which the two with a mottled inside are lesions.

    Contrast and noise differ from case to case.  Round lesions stand for those of the pretraining (tumours),
    ragged ones for infiltrates; the texture that tells them from other blobs is the same.
    """
    rng = np.random.default_rng([77, seed, not ragged])
    image = 0.3 * smooth(rng, 2) + 0.3 * rng.standard_normal(SHAPE) * rng.uniform(0.7, 1.4)
    k, j, i = np.meshgrid(*(np.arange(length) for length in SHAPE), indexing="ij")
    texture, lesions = smooth(rng, 1), np.zeros(SHAPE, bool)
    blobs: list[tuple[np.ndarray, float]] = []
    while len(blobs) < 5:
        centre, radius = rng.uniform(7, SHAPE[1] - 7, 2), rng.uniform(4, 7)
        if any(np.hypot(*(centre - other)) <= radius + reach + 3 for other, reach in blobs):
            continue
        blobs.append((centre, radius))
        height = rng.uniform(1, SHAPE[0] - 2)
        distance = np.sqrt((j - centre[0]) ** 2 + (i - centre[1]) ** 2 + (1.5 * (k - height)) ** 2)
        blob = distance + (1.2 * smooth(rng, 4) if ragged else 0) < radius
        contrast = rng.uniform(1.0, 2.0)
        image += blob * contrast
        if len(blobs) <= 2:
            lesions |= blob
            image += blob * contrast * 0.5 * texture
    image = (image - image.mean()) / image.std()
    return PreparedVolume(
        image[None].astype(np.float16), lesions.astype(np.uint8), (1.0, 1.0, 5.0), f"mottled {seed}"
    )


def reduced(name: str, rate: float, epochs: int, steps: int, **training) -> Recipe:
    """The shipped recipe with 4 filters and patches of 32x32; the rate falls by a quarter each epoch."""
    data = copy.deepcopy(load_recipe(name).data)
    data["card"]["network"]["options"] = {"filters": 4}
    data["sampling"]["patch"] = [32, 32]
    data["schedule"] = {"name": "exponential", "start": rate, "factor": 0.75, "every": 1}
    kept = {key: data["training"][key] for key in ("mixup", "trainable") if key in data["training"]}
    data["training"] = {
        "epochs": epochs, "steps_per_epoch": steps, "keep": "last", "mixed_precision": "none",
        "validation": {"mode": "volumes", "every": epochs}, **kept, **training,
    }  # fmt: skip
    data["seed"] = SEED
    return Recipe(data)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory) -> Start:
    """Pretraining A on twelve cases of the other disease."""
    recipe = reduced("003-pretrain-lung-tumour", 0.005, 1, 150)
    cases = [mottled_volume(SEED * 1000 + 200 + number, ragged=False) for number in range(12)]
    folder = tmp_path_factory.mktemp("pretraining")
    return Start("pretraining", fit(recipe, cases, [], folder, Reporter()).state, None, "", {})


def trained(recipe: Recipe, folder, start: Start | None = None) -> FitResult:
    """After few steps on two cases, judged by six others."""
    labelled, others = (
        [mottled_volume(SEED * 1000 + first + number, ragged=True) for number in range(count)]
        for first, count in ((0, 2), (500, 6))
    )
    initial = None
    if start is not None:
        initial = with_own_statistics(recipe, initial_weights(recipe, start), labelled, "cpu", Reporter())
    return fit(recipe, labelled, others, folder, Reporter(), None, initial)


def test_few_labels_go_further_from_a_pretrained_encoder(pretrained, tmp_path):
    """Report 003, table 5.1, 10-40: validation Dice 0.70 from scratch, 0.80 with a fine-tuned decoder."""
    dice = {}
    for name, start in (("003-unet-scratch-10-40", None), ("003-unet-decoder-10-40", pretrained)):
        result = trained(reduced(name, 0.003, 6, 8), tmp_path / name, start)
        dice[name] = result.kept["validation_dice"]
    assert dice["003-unet-decoder-10-40"] > 0.5
    assert dice["003-unet-scratch-10-40"] < dice["003-unet-decoder-10-40"] - 0.05


@pytest.mark.parametrize("name", ["003-unet-scratch-40-10", "003-unet-all-40-10"])
def test_the_encoder_converges_before_the_decoder(name, pretrained, tmp_path):
    """Report 003, 5.2.4: from scratch the encoder converges faster, after pretraining it also moves less."""
    recipe = reduced(name, 0.003, 6, 8, stages={"every": 16})
    result = trained(recipe, tmp_path, pretrained if "all" in name else None)
    case = mottled_volume(SEED * 1000 + 900, ragged=True)
    images = torch.from_numpy(case.image.astype(np.float32)).swapaxes(0, 1).contiguous()
    network = build_network("genesis_unet2d", {"filters": 4})
    paths = sorted((tmp_path / "stages").iterdir())
    stages = {path.stem: partial(read_stage, path) for path in paths}
    found = compare_training(network, stages, result.state, images, Reporter())
    assert found.columns == [f"stage-{step:08d}" for step in (0, 16, 32, 48)]
    encoder, decoder = (
        np.mean([row for layer, row in zip(found.rows, found.values, strict=True) if part in layer], axis=0)
        for part in ("down_", "up_")
    )
    assert encoder[0] > decoder[0] + 0.1
    assert (encoder[1:3] > decoder[1:3]).all()
    assert min(encoder[3], decoder[3]) > 0.999, "the last stage is the converged network"


def read_stage(path: Path) -> dict[str, torch.Tensor]:
    return read_tensors(path)[0]
