"""Every network of the reports learns blobs in noise: the loss falls, and blobs it has not seen are found.

Widths are reduced where the network's constructor allows it.
"""

from dataclasses import dataclass

import pytest
from blob_training import blobs, network_recipe
from SegDLEngine.networks.registry import NETWORKS
from SegDLEngine.protocol import Reporter
from SegDLTrainingLib.fit import fit

SOFTMAX = "softmax"


@dataclass(frozen=True)
class Trial:
    """A network, the patch [i, j(, k)] it learns on, and the Dice that it reaches at least."""

    name: str
    options: dict
    patch: list[int]
    dice: float
    activation: str = "sigmoid"
    batch: int = 4
    epochs: int = 4

    @property
    def flat(self) -> bool:
        return len(self.patch) == 2


ONE_CHANNEL_TWO_CLASSES = {"in_channels": 1, "out_channels": 2}
SHORT_RES_UNET = {"encoder_depths": [1, 1, 1], "decoder_depths": [1, 1], "output_depth": 1}
TRIALS = [
    Trial("lung_unet2d", {"filters": 4, "depth": 3, "dropout": 0.1, "normalisation": "batch"}, [24, 24], 0.7),
    Trial("lung_unet2d_small", {"dropout": 0.1}, [24, 24], 0.8),
    Trial("se_resunet3d", {"in_channels": 1, "filters": 2}, [32, 32, 32], 0.65, batch=1, epochs=2),
    Trial("rrse_unet3d", {"in_channels": 1, "filters": 2}, [32, 32, 32], 0.6, batch=1, epochs=2),
    Trial("baseline_unet3d", {"in_channels": 1, "filters": 4}, [16, 16, 16], 0.75),
    Trial("multiscale_cnn3d", ONE_CHANNEL_TWO_CLASSES, [16, 16, 16], 0.9, SOFTMAX),
    Trial("two_path_cnn", {**ONE_CHANNEL_TWO_CLASSES, "filters": [4, 4]}, [48, 48], 0.8, SOFTMAX),
    Trial("input_cascade_cnn", {**ONE_CHANNEL_TWO_CLASSES, "filters": [4, 4]}, [80, 80], 0.8, SOFTMAX),
    Trial("unet2d", {"filters": 4, "depth": 3, "dropout": 0.1}, [60, 60], 0.75, SOFTMAX),
    Trial("unet2d", {"filters": 4, "depth": 3, "dropout": 0.1, "padded": True}, [24, 24], 0.75, SOFTMAX),
    Trial("unet3d_69k", {"in_channels": 1}, [16, 16, 16], 0.7),
    Trial("genesis_unet3d", {"filters": 4}, [16, 16, 16], 0.6),
    Trial("genesis_unet2d", {"filters": 4}, [24, 24], 0.75),
    Trial("attention_unet2d", {"filters": 4}, [32, 32], 0.8, SOFTMAX),
    Trial("attention_unet3d", {"filters": 4}, [16, 16, 16], 0.75, SOFTMAX),
    Trial("lungmask_unet2d", {"filters": 4, "depth": 3, "out_channels": 2}, [24, 24], 0.75, SOFTMAX),
    Trial("res_unet2d", {"in_channels": 1, "filters": [8, 8, 8], **SHORT_RES_UNET}, [24, 24], 0.8),
]


pytestmark = pytest.mark.usefixtures("one_thread")


def test_every_network_of_the_reports_is_tried():
    assert {trial.name for trial in TRIALS} == {name for name, entry in NETWORKS.items() if entry.report}


@pytest.mark.parametrize("trial", TRIALS, ids=lambda trial: trial.name)
def test_loss_falls_and_new_blobs_are_found(trial, tmp_path):
    recipe = network_recipe(
        trial.name,
        trial.options,
        trial.patch,
        activation=trial.activation,
        sampling={"batch": trial.batch, "centred": trial.flat},
        training={"epochs": trial.epochs},
    )
    size = (*trial.patch, 24) if trial.flat else tuple(trial.patch)
    result = fit(recipe, blobs(6, size), blobs(3, size, first=100), tmp_path, Reporter())
    losses = [row["loss"] for row in result.history]
    assert losses[-1] < 0.9 * losses[0]
    assert result.history[-1]["validation_dice"] >= trial.dice
