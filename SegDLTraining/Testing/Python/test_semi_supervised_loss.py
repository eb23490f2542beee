"""The loss of semi-supervised training against its formula, and what student and teacher see."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from SegDLEngine.networks.registry import build_network
from SegDLTrainingLib.losses.registry import build_loss
from SegDLTrainingLib.precision import Precision
from SegDLTrainingLib.processes import Processes
from SegDLTrainingLib.recipes import Recipe
from SegDLTrainingLib.semi_supervised.labelling import PseudoLabelled
from SegDLTrainingLib.semi_supervised.pseudo_labels import PseudoLabels
from SegDLTrainingLib.semi_supervised.task import SemiSupervised
from SegDLTrainingLib.task import Setting
from tiny_training import balls, smallest_recipe

NETWORK = {"name": "genesis_unet2d", "options": {"filters": 2}}
LOSS = {"name": "sum", "terms": [{"name": "dice", "per": "sample"}, {"name": "cross_entropy"}]}
INNER = slice(2, 14)


def task() -> SemiSupervised:
    """Patches of 12 pixels, padded to 16; ramp-up over four epochs, weights that no other one equals."""
    data = copy.deepcopy(
        smallest_recipe(sampling={"mode": "patches", "patch": [16, 16], "foreground_share": 0.5}).data
    )
    data["card"]["network"], data["augmentation"], data["loss"] = NETWORK, [], LOSS
    data["semi_supervised"] = {
        "patch": 12, "padded": 16, "ramp_up_epochs": 4, "consistency_weight": 3.0, "pseudo_weight": 0.7,
        "noise": 0.05,
    }  # fmt: skip
    rng = np.random.default_rng(0)
    queries = rng.random((6, 1, 12, 12)).astype(np.float16) + np.float16(1)
    labels = PseudoLabels(
        np.array([1, 4]), rng.random((2, 12, 12)).astype(np.float32), np.array([0.9, 0.2], np.float32)
    )
    material = PseudoLabelled(queries, [f"case {number}" for number in range(6)], labels)
    torch.manual_seed(0)
    network = build_network(NETWORK["name"], NETWORK["options"])
    setting = Setting(Recipe(data), network, balls(2), [], Precision("none", "cpu"), "cpu", Processes())
    return SemiSupervised(material, setting)


@pytest.mark.parametrize("epoch, ramp", [(0.0, 0.0067), (2.0, 0.2865), (4.0, 1.0), (9.5, 1.0)])
def test_loss_by_its_formula(epoch, ramp):
    """Labelled patches, pseudo-labelled ones by similarity, agreement with the teacher; no padding."""
    chosen = task()
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(6, 1, 16, 16, generator=generator)
    targets = (torch.rand(2, 1, 16, 16, generator=generator) > 0.7).float()
    masks, weights = torch.rand(2, 1, 12, 12, generator=generator), torch.tensor([0.9, 0.2])
    taught = torch.rand(2, 1, 16, 16, generator=generator)
    found = chosen.loss(logits, [targets, masks, weights, taught], epoch).item()
    plain = build_loss(LOSS, "sigmoid")
    pseudo = [plain(logits[2 + n : 3 + n, :, INNER, INNER], masks[n : n + 1], 0) for n in range(2)]
    with torch.no_grad():
        teacher = torch.sigmoid(chosen.average.network(taught))
    differences = (torch.sigmoid(logits[4:]) - teacher)[:, :, INNER, INNER]
    expected = (
        plain(logits[:2], targets, 0)
        + 0.7 * (0.9 * pseudo[0] + 0.2 * pseudo[1]) / 2
        + 3.0 * ramp * (differences**2).mean()
    )
    assert found == pytest.approx(expected.item(), abs=2e-5)


def test_student_and_teacher_see_the_same_patches_with_noise_of_their_own():
    chosen = task()
    images, targets, masks, weights, taught = chosen.part(3, range(4))
    assert images.shape == (12, 1, 16, 16) and targets.shape == (4, 1, 16, 16)
    pseudo, others = images[4:8], images[8:]
    difference = others - taught
    assert difference.std().item() == pytest.approx(0.05 * math.sqrt(2), rel=0.15)
    assert taught[:, :, INNER, INNER].mean() > 1
    assert taught[:, :, :2].abs().max() < 0.3, "beyond the patch there is noise alone"
    clean = torch.from_numpy(
        np.stack([chosen._material.queries[[1, 4]][n] for n in (0, 1)]).astype(np.float32)
    )
    for patch, mask, weight in zip(pseudo[:, :, INNER, INNER], masks, weights, strict=True):
        which = int(((clean - patch) ** 2).mean(dim=(1, 2, 3)).argmin())
        assert (patch - clean[which]).std().item() == pytest.approx(0.05, rel=0.3)
        assert torch.equal(mask[0], torch.from_numpy(chosen._material.labels.masks[which]))
        assert weight.item() == pytest.approx([0.9, 0.2][which])


def test_parts_of_a_batch_hold_what_the_whole_holds():
    chosen = task()
    whole, part = chosen.part(3, range(4)), chosen.part(3, range(2, 4))
    for mine, all_rows in zip(part[1:], whole[1:], strict=True):
        assert torch.equal(mine, all_rows[2:])
    assert torch.equal(part[0], torch.cat([whole[0][first + 2 : first + 4] for first in (0, 4, 8)]))
