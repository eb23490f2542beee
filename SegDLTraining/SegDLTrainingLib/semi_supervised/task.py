"""The task of ``segdl-train semi-supervised``: labels, pseudo-labels and a mean teacher together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from SegDLEngine.errors import InputError
from SegDLEngine.networks.network import Network
from torch.nn.functional import pad

from SegDLTrainingLib.draws import seed_of
from SegDLTrainingLib.losses.reduction import own_rows_only
from SegDLTrainingLib.losses.registry import build_loss
from SegDLTrainingLib.segmentation import Segmentation
from SegDLTrainingLib.semi_supervised.labelling import PseudoLabelled
from SegDLTrainingLib.semi_supervised.mean_teacher import (
    MeanTeacher,
    consistency,
    ramp_up,
    semi_supervised_loss,
)
from SegDLTrainingLib.semi_supervised.norms import keep_apart
from SegDLTrainingLib.semi_supervised.settings import SemiSupervisedSettings
from SegDLTrainingLib.targets import probabilities
from SegDLTrainingLib.task import Follower, Part, Setting

_PSEUDO, _QUERY, _STUDENT_NOISE, _TEACHER_NOISE, _PSEUDO_NOISE = range(3, 8)


class SemiSupervised:
    """Each row of a batch is a labelled patch, one with a pseudo-label and one without any label.

    The student sees all three in one pass, each kind normalised by itself.  The loss is the recipe's for
    the labelled patches, the same weighted by similarity for the pseudo-labelled ones, and the squared
    difference from the teacher's probabilities for the others, of which student and teacher see copies with
    noise of their own.
    """

    def __init__(self, material: PseudoLabelled, setting: Setting):
        recipe = setting.recipe
        self._constants = SemiSupervisedSettings.of(recipe.data.get("semi_supervised", {}))
        self._labelled = Segmentation(setting)
        side = self._constants.padded
        patch = recipe["sampling"].get("patch")
        if patch != [side, side]:
            raise InputError(
                f"The recipe's sampling.patch {patch} is not semi_supervised.padded, [{side}, {side}].",
                hint="Labelled and other patches go through the network together.",
            )
        self._material = material
        self._seed, self._precision = recipe.seed, setting.precision
        self._activation = recipe.card["inference"]["activation"]
        if len(recipe.card["labels"]) != 1 or self._activation != "sigmoid":
            raise InputError(
                "Pseudo-labels are masks of one label.", hint="Use a recipe with one label and sigmoid."
            )
        self._loss = build_loss(recipe["loss"], self._activation)
        self.size, self.every = self._labelled.size, self._labelled.every
        teacher = MeanTeacher(setting.network, self._constants.teacher_decay)
        self.average: Follower = teacher
        self._teacher: Network = teacher.network
        keep_apart(setting.network, groups=3)
        self.kept: Network = teacher.network if self._constants.result == "teacher" else setting.network

    def part(self, number: int, rows: Sequence[int]) -> Part:
        """All images (3 N, C, side, side); targets, pseudo-masks, their weights, the teacher's images."""
        images, targets = self._labelled.part(number, rows)
        labels = self._material.labels
        chosen = self._choose(number, rows, _PSEUDO, len(labels.queries))
        pseudo = self._padded(self._material.queries[labels.queries[chosen]])
        others = self._padded(
            self._material.queries[self._choose(number, rows, _QUERY, len(self._material.queries))]
        )
        seen = [
            images,
            pseudo + self._noise(pseudo, number, rows, _PSEUDO_NOISE),
            others + self._noise(others, number, rows, _STUDENT_NOISE),
        ]
        masks = torch.from_numpy(labels.masks[chosen])[:, None]
        weights = torch.from_numpy(labels.weights[chosen])
        taught = others + self._noise(others, number, rows, _TEACHER_NOISE)
        return torch.cat(seen), targets, masks, weights, taught

    def names(self, number: int) -> list[str]:
        chosen = self._choose(number, range(self.size), _PSEUDO, len(self._material.labels.queries))
        queries = self._material.labels.queries[chosen].tolist()
        return [*self._labelled.names(number), *(self._material.cases[query] for query in queries)]

    def loss(self, logits: torch.Tensor, aims: Sequence[torch.Tensor], epoch: float) -> torch.Tensor:
        targets, masks, weights, taught = aims
        labelled, pseudo, others = logits.split(len(targets))
        pseudo = self._cropped(pseudo)
        with own_rows_only():
            each = [self._loss(pseudo[n : n + 1], masks[n : n + 1], int(epoch)) for n in range(len(masks))]
        with torch.no_grad(), self._precision.autocast():
            teaching = self._teacher(taught)
        agreement = consistency(
            self._cropped(probabilities(others, self._activation)),
            self._cropped(probabilities(teaching.float(), self._activation)),
        )
        constants = self._constants
        return semi_supervised_loss(
            self._labelled.loss(labelled, [targets], epoch),
            torch.stack(each),
            weights,
            agreement,
            constants.consistency_weight * ramp_up(epoch, constants.ramp_up_epochs),
            constants.pseudo_weight,
        )

    def judge(self, network: Network, epoch: int) -> dict[str, float]:
        return self._labelled.judge(network.eval(), epoch)

    def _choose(self, number: int, rows: Sequence[int], purpose: int, count: int) -> np.ndarray:
        draws = [np.random.default_rng([self._seed, number, row, purpose]).integers(count) for row in rows]
        return np.array(draws, dtype=int)

    def _noise(self, images: torch.Tensor, number: int, rows: Sequence[int], purpose: int) -> torch.Tensor:
        noise = torch.empty_like(images)
        for image, row in zip(noise, rows, strict=True):
            generator = torch.Generator().manual_seed(seed_of(self._seed, number, row, purpose))
            image.normal_(0.0, self._constants.noise, generator=generator)
        return noise

    def _padded(self, patches: np.ndarray) -> torch.Tensor:
        spare = self._constants.padded - self._constants.patch
        sides = (spare // 2, spare - spare // 2)
        return pad(torch.from_numpy(patches.astype(np.float32)), (*sides, *sides))

    def _cropped(self, maps: torch.Tensor) -> torch.Tensor:
        """The patches without what was padded, which has no meaning."""
        side, first = self._constants.patch, (self._constants.padded - self._constants.patch) // 2
        return maps[..., first : first + side, first : first + side]
